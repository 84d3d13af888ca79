# What a change must pass before it is handed over.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test

# The texts that are generated from the code.
docs:
    cargo run -q -- docs --markdown > docs/primitives.md
    cargo run -q -- docs --definitions > docs/runner.d.rhai

# The main job, with nothing installed.
demo:
    cargo run --release -- demo
