#!/usr/bin/env bash
# Make the example clips again.  Needs: apt-get install festival festvox-us-slt-hts sox
set -euo pipefail
cd "$(dirname "$0")"
spoken=$(mktemp --suffix .wav)
trap 'rm -f "$spoken"' EXIT

# say NAME TEXT SOX-EFFECTS...: speak a text and change its pitch (in cents), speed and level.
say() {
    local name=$1 text=$2
    shift 2
    echo "$text" | text2wave -eval '(voice_cmu_us_slt_arctic_hts)' -o "$spoken"
    sox --no-dither "$spoken" --rate 16000 --channels 1 --bits 16 "$name" "$@"
}

say plain.wav "The train to the coast leaves at ten past nine." norm -3
say lively.wav "We won! I can not believe that we really won!" pitch 300 tempo -s 1.2 norm -1
say slow.wav "I waited all day, but nobody came." pitch -250 tempo -s 0.8 norm -12
say loud.wav "Do not touch that! Put it down, right now!" pitch 150 tempo -s 1.1 overdrive 12 0 norm -1
