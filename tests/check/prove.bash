# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A rule is a script that defines `find_breaches` (run inside a tree, prints one line for each
# breach, "file:line: what") and ends with `prove NAME`. The rule is tried on two small trees
# first: samples/NAME/pass must give nothing, samples/NAME/fail exactly samples/NAME/expected.
# Then it is run on the real tree.
set -u -o pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)

# files GLOB...: what git would know of a tree, without samples and third parties.
files() {
    find . -type f \( "$@" \) -not -path './build/*' -not -path './.git/*' \
        -not -path '*/node_modules/*' -not -path './tests/check/samples/*' \
        -not -path '*/__pycache__/*' | sed 's,^\./,,' | sort
}

prove() {
    local rule=$1 got
    got=$(cd "$here/samples/$rule/pass" && find_breaches)
    if [ -z "$got" ]; then
        echo "ok - $rule: the passing sample passes"
    else
        echo "not ok - $rule: the passing sample is refused"
        echo "$got"
    fi
    if got=$(diff <(cd "$here/samples/$rule/fail" && find_breaches) "$here/samples/$rule/expected"); then
        echo "ok - $rule: every breach of the failing sample is found ($(wc -l <"$here/samples/$rule/expected"))"
    else
        echo "not ok - $rule: the failing sample's breaches differ from the expected ones"
        echo "$got"
    fi
    got=$(cd "$top" && find_breaches)
    if [ -z "$got" ]; then
        echo "ok - $rule: the tree keeps the rule"
    else
        echo "not ok - $rule: $(wc -l <<<"$got") breaches"
        echo "$got"
    fi
}
