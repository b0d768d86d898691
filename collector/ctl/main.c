/* SPDX-License-Identifier: Apache-2.0 */
/* lectrctl: tail top report alerts coverage */
#include "collector/ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    const char *help;
    const char *options;
    int (*run)(const struct ctl_options *o);
} commands[] = {
    {"tail", "calls as they end, one on a line",
     "  --nats URL       default nats://127.0.0.1:4222\n"
     "  --creds FILE     credentials; or --nkey-seed FILE\n"
     "  --ca-file FILE   trust this CA for the server\n"
     "  --cert-file FILE, --key-file FILE\n"
     "                   where the server wants a certificate of the client\n"
     "  --org NAME       of one organisation\n"
     "  --limit N        end after N calls\n",
     tail_run},
    {"top", "live table: feature, provider, model, calls, tokens, cost, latency, errors",
     "  --window W       sums over the last W (90s, 15m, 24h, 7d), default 15m\n"
     "  --once           print it once\n",
     top_run},
    {"report", "the same by hour or day",
     "  --by STEP        minute, hour or day (default)\n"
     "  --window W       how far back, default 1h, 24h or 30d\n",
     report_run},
    {"alerts", "alerts with baseline and deviation, newest last",
     "  --window W       how far back, default 30d\n"
     "  --active         only those that go on\n"
     "  --limit N        the newest N\n",
     alerts_run},
    {"coverage", "metered / seen for each workload, why not, and lost events",
     "  --window W       how far back, default 24h\n", coverage_run},
};

#define WORD_LETTERS "0123456789abcdefghijklmnopqrstuvwxyz"
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *to)
{
    fprintf(to, "usage: lectrctl COMMAND [options]\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n  --collector URL  its API, default http://127.0.0.1:9464\n"
                "  --format F       table (default) or json\n"
                "  --help           of a command: lectrctl top --help\n");
}

static void print_command_help(const struct command *c)
{
    printf("usage: lectrctl %s [options]\n%s\n\n%s", c->name, c->help, c->options);
    printf("  --collector URL  default http://127.0.0.1:9464\n"
           "  --format F       table (default) or json\n");
}

enum {
    OPT_COLLECTOR = 256,
    OPT_NATS,
    OPT_CREDS,
    OPT_NKEY_SEED,
    OPT_CA_FILE,
    OPT_CERT_FILE,
    OPT_KEY_FILE,
    OPT_FORMAT,
    OPT_WINDOW,
    OPT_BY,
    OPT_ORG,
    OPT_ONCE,
    OPT_ACTIVE,
    OPT_LIMIT,
    OPT_HELP,
};

static const struct option long_options[] = {
    {"collector", required_argument, NULL, OPT_COLLECTOR},
    {"nats", required_argument, NULL, OPT_NATS},
    {"creds", required_argument, NULL, OPT_CREDS},
    {"nkey-seed", required_argument, NULL, OPT_NKEY_SEED},
    {"ca-file", required_argument, NULL, OPT_CA_FILE},
    {"cert-file", required_argument, NULL, OPT_CERT_FILE},
    {"key-file", required_argument, NULL, OPT_KEY_FILE},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"by", required_argument, NULL, OPT_BY},
    {"org", required_argument, NULL, OPT_ORG},
    {"once", no_argument, NULL, OPT_ONCE},
    {"active", no_argument, NULL, OPT_ACTIVE},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

/* It becomes part of an address. */
static int take_word(const char *name, const char **place)
{
    if (!optarg[0] || strlen(optarg) > 16 || strspn(optarg, WORD_LETTERS) != strlen(optarg)) {
        fprintf(stderr, "lectrctl: --%s: use a number and s, m, h, d or w, or a step's name\n",
                name);
        return -EINVAL;
    }
    *place = optarg;
    return 0;
}

static int take_limit(unsigned *ret_limit)
{
    size_t len = strlen(optarg);

    if (len == 0 || len > 9 || strspn(optarg, "0123456789") != len) {
        fprintf(stderr, "lectrctl: --limit: use 0 to 999999999\n");
        return -EINVAL;
    }
    *ret_limit = (unsigned)strtoul(optarg, NULL, 10);
    return 0;
}

static int take_option(struct ctl_options *o, int opt)
{
    const struct {
        int opt;
        const char **text;
    } texts[] = {{OPT_COLLECTOR, &o->collector}, {OPT_NATS, &o->nats},
                 {OPT_CREDS, &o->creds},         {OPT_NKEY_SEED, &o->nkey_seed},
                 {OPT_CA_FILE, &o->ca_file},     {OPT_CERT_FILE, &o->cert_file},
                 {OPT_KEY_FILE, &o->key_file},   {OPT_ORG, &o->org}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (opt == texts[i].opt) {
            *texts[i].text = optarg;
            return 0;
        }
    if (opt == OPT_FORMAT) {
        o->json = strcmp(optarg, "json") == 0;
        if (o->json || strcmp(optarg, "table") == 0)
            return 0;
        fprintf(stderr, "lectrctl: --format: use table or json\n");
        return -EINVAL;
    }
    if (opt == OPT_WINDOW || opt == OPT_BY)
        return opt == OPT_BY ? take_word("by", &o->by) : take_word("window", &o->window);
    if (opt == OPT_LIMIT)
        return take_limit(&o->limit);
    if (opt == OPT_ONCE)
        o->once = true;
    else if (opt == OPT_ACTIVE)
        o->active = true;
    else
        return -EINVAL;
    return 0;
}

int main(int argc, char **argv)
{
    struct ctl_options o = {.collector = "http://127.0.0.1:9464", .nats = "nats://127.0.0.1:4222"};
    const struct command *command = NULL;
    bool help = argc < 2;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (opt == OPT_HELP || opt == 'h')
            help = true;
        else if (take_option(&o, opt) < 0)
            return 2;
    }
    for (size_t i = 0; optind < argc && i < COMMANDS; i++)
        if (strcmp(argv[optind], commands[i].name) == 0)
            command = &commands[i];
    if (help && command) {
        print_command_help(command);
        return 0;
    }
    if (!command) {
        bool known = help || (optind < argc && strcmp(argv[optind], "help") == 0);

        print_help(known ? stdout : stderr);
        return known ? 0 : 2;
    }
    return command->run(&o) == 0 ? 0 : 1;
}
