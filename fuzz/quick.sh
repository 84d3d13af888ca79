#!/usr/bin/env bash
# Fuzzes one target without cargo-fuzz and without building the dependencies again: those of `cargo test` are taken, and
# only the project's own crates are measured.
#
#   fuzz/quick.sh TARGET [SECONDS]
set -euo pipefail

# Called by cargo in the place of the compiler.
if [ "${QUICK_FUZZ:-}" = compiling ]; then
    case " $* " in
    *" --crate-name runner "* | *" fuzz_targets/"*)
        exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
            -Cllvm-args=-sanitizer-coverage-trace-compares
        ;;
    *) exec "$@" ;;
    esac
fi

target=${1:?usage: quick.sh TARGET [SECONDS]}
seconds=${2:-630}
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../target} CARGO_INCREMENTAL=0
QUICK_FUZZ=compiling RUSTC_WRAPPER="$here/quick.sh" cargo build --locked --bin "$target"

found=target/found/$target
mkdir -p "$found" "artifacts/$target"
longest=8192
[ "$target" = lexer ] && longest=2048
exec "$CARGO_TARGET_DIR/debug/$target" "$found" "corpus/$target" "regressions/$target" \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=$longest \
    -dict="dictionaries/$target.dict" -artifact_prefix="artifacts/$target/" -print_final_stats=1
