# shellcheck shell=bash
# Where lies what is built or kept outside the checkout: HASHMIX_CACHE, from here on set and absolute,
# for the scripts that are called from here too. Sourced with `caller` set, the folder that a person
# stood in, for a name that he gave holds there.
if [[ -z ${HASHMIX_CACHE:-} && -z ${HOME:-} ]]; then
    printf '%s: neither HASHMIX_CACHE nor HOME is set: name a folder for what is built, HASHMIX_CACHE=…\n' "${0##*/}" >&2
    exit 2
fi
HASHMIX_CACHE=${HASHMIX_CACHE:-$HOME/.cache/hashmix}
# shellcheck disable=SC2154
[[ $HASHMIX_CACHE == /* ]] || HASHMIX_CACHE=$caller/$HASHMIX_CACHE
export HASHMIX_CACHE
