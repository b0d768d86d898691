/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ipc.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define IPC_HEADER_BYTES offsetof(struct ipc_msg, hello)

/* Bytes of the union's member that a type carries; -1: no such type. */
static int body_bytes(uint32_t type)
{
    switch ((enum ipc_type)type) {
    case IPC_HELLO:
        return sizeof(struct ipc_hello);
    case IPC_LISTENER:
    case IPC_SOCKETS:
    case IPC_NETNS_GONE:
    case IPC_NEED_SOCKETS:
        return sizeof(struct ipc_netns);
    case IPC_WHO:
        return sizeof(struct ipc_who);
    case IPC_CALLER:
        return sizeof(struct ipc_caller);
    case IPC_CENSUS:
        return sizeof(struct ipc_census);
    case IPC_CENSUS_ACK:
        return sizeof(uint64_t);
    case IPC_DRAIN:
        return sizeof(uint32_t);
    case IPC_READY:
        return 0;
    }
    return -1;
}

int ipc_send(int fd, const struct ipc_msg *msg, const int *fds, unsigned fds_count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    } control = {0};
    int body = body_bytes(msg->type);
    struct iovec iov;
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    struct ipc_msg copy;
    ssize_t sent;

    if (body < 0 || fds_count > IPC_FDS_MAX)
        return -EINVAL;
    memcpy(&copy, msg, IPC_HEADER_BYTES + (size_t)body);
    copy.version = IPC_VERSION;
    iov = (struct iovec){.iov_base = &copy, .iov_len = IPC_HEADER_BYTES + (size_t)body};
    if (fds_count > 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * fds_count);
        memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * fds_count);
        mh.msg_control = &control;
        mh.msg_controllen = CMSG_SPACE(sizeof(int) * fds_count);
    }
    do
        sent = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 0;
    if (errno == ECONNRESET || errno == ENOTCONN)
        return -EPIPE;
    /* Too many descriptors in flight is as passing a state as a full queue. */
    return errno == EWOULDBLOCK || errno == ENOBUFS || errno == ETOOMANYREFS ? -EAGAIN : -errno;
}

/* Takes the descriptors out of the control data; false when some were cut off. */
static bool take_fds(struct msghdr *mh, int *ret_fds, unsigned *ret_count)
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        size_t here;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (count < IPC_FDS_MAX)
                ret_fds[count++] = fd;
            else
                close(fd);
        }
    }
    *ret_count = count;
    return !(mh->msg_flags & MSG_CTRUNC);
}

int ipc_recv(int fd, struct ipc_msg *ret_msg, int *ret_fds, unsigned *ret_fds_count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * IPC_FDS_MAX)];
    } control;
    struct ipc_msg msg;
    struct iovec iov = {.iov_base = &msg, .iov_len = sizeof(msg)};
    struct msghdr mh = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control)};
    int fds[IPC_FDS_MAX];
    unsigned fds_count;
    ssize_t got;
    int body;
    bool cut;

    memset(&msg, 0, sizeof(msg));
    do
        got = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    if (got == 0)
        return -EPIPE;
    cut = !take_fds(&mh, fds, &fds_count);
    body = (size_t)got >= IPC_HEADER_BYTES ? body_bytes(msg.type) : -1;
    if (cut || (mh.msg_flags & MSG_TRUNC) || body < 0 || msg.version != IPC_VERSION ||
        (size_t)got != IPC_HEADER_BYTES + (size_t)body) {
        for (unsigned i = 0; i < fds_count; i++)
            close(fds[i]);
        return cut ? -EMFILE : -EPROTO;
    }
    memcpy(ret_msg, &msg, sizeof(msg));
    memcpy(ret_fds, fds, sizeof(int) * fds_count);
    *ret_fds_count = fds_count;
    return 0;
}
