# Everything that people and CI do with this repository. `just` alone lists it.
#
# Needs rustup, Go 1.26 or newer, a C compiler and git; `just setup` says what is missing. Root is not needed. What is written
# outside target/: the caches of cargo, Go and this project (~/.cache/vk-host: control plane and metrics-server); the toolchain and
# its parts in ~/.rustup, if they are missing (`setup`, which others begin with); cargo-component in ~/.cargo/bin (`compat`).
#
# cargo is always called for the whole workspace: another choice of packages means other features of their dependencies,
# and these would be compiled again.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

export CARGO_TARGET_DIR := absolute_path(env("CARGO_TARGET_DIR", "target"))

# Crates in plugins/ that are no plugin.
libraries := "sdk engine aci"
cargo_component := "0.21.1"

[private]
default:
    @{{ just_executable() }} --list --unsorted

# Show a virtual node at work on a cluster of its own (--docker: real containers; --keep, --stop, --kubeconfig FILE, --plugin FILE --provider-config FILE)
demo *ARGS: plugins
    @{{ say }} "building vk-host and the demo (the first time takes some minutes)"
    cargo build --workspace --bins
    "$CARGO_TARGET_DIR/debug/vk-demo" "$@"

# Run all tests, unit and end to end, against a real API server
test *ARGS: plugins _next _tested
    @{{ say }} "running the tests; the first one that needs a control plane builds it, once (five to ten minutes)"
    cargo test --workspace "$@"

# Run the tests with a real container engine against Podman instead of Docker
test-podman *ARGS: plugins _tested
    VK_TEST_ENGINE=podman cargo test --workspace --test docker "$@"

# Run tests of plugins/azure against Azure itself, where variables say how to sign in (AZURE_…), and where (ACI_REGION, ACI_RESOURCE_GROUP)
test-azure:
    #!/usr/bin/env bash
    set -euo pipefail
    if [ -z "${AZURE_AUTH_LOCATION:-}${AZURE_CLIENT_SECRET:-}" ]; then
        echo "skipped: no credentials (AZURE_AUTH_LOCATION, or AZURE_CLIENT_SECRET with AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_SUBSCRIPTION_ID)"
        exit 0
    fi
    {{ just_executable() }} plugins _tested
    VK_TEST_AZURE=1 cargo test --workspace --test azure -- --exact pods_are_container_groups --nocapture

# Run what takes many minutes: a token of the shortest life that an API server gives, until after its end; hundreds of pods in a fake Azure, made and at rest
test-slow *ARGS: plugins _tested
    VK_TEST_SLOW=1 VK_TEST_ONLY=slow:: cargo test --no-fail-fast --workspace --test docker --test azure "$@"

# Check format and lints, for this machine and for WebAssembly
lint: setup
    cargo fmt --all --check
    @{{ say }} "linting for this machine"
    cargo clippy --workspace --all-targets -- -D warnings
    @{{ say }} "linting plugins for WebAssembly"
    cargo clippy --target wasm32-wasip2 $({{ just_executable() }} _plugin-flags) -p vk-provider -p vk-engine -p vk-aci -- -D warnings

# Build each plugin as a component: target/plugins/NAME.wasm
plugins: setup
    @{{ say }} "building plugins"
    cargo build --target wasm32-wasip2 --profile plugin $({{ just_executable() }} _plugin-flags)
    @{{ just_executable() }} _collect "$CARGO_TARGET_DIR/wasm32-wasip2/plugin" "$CARGO_TARGET_DIR/plugins"

# Build each plugin with cargo-component too, and run the demo with that build
compat: plugins _cargo-component
    @{{ say }} "building plugins with cargo component"
    CARGO_TARGET_DIR="$CARGO_TARGET_DIR/cargo-component" cargo component build --profile plugin $({{ just_executable() }} _plugin-flags)
    @{{ just_executable() }} _collect "$CARGO_TARGET_DIR/cargo-component/wasm32-wasip1/plugin" "$CARGO_TARGET_DIR/cargo-component/plugins"
    cargo build --workspace --bins
    "$CARGO_TARGET_DIR/debug/vk-demo" --plugin "$CARGO_TARGET_DIR/cargo-component/plugins/mock.wasm"

# Measure vk-host beside bare clients, in about half an hour (--pods 300,1000 --rounds 5 --full, or only `calls` or `engine`); builds for release
bench *ARGS: plugins
    @{{ say }} "building vk-host and the benchmark for release"
    cargo build --release --workspace --bin vk-host --bin vk-bench
    "$CARGO_TARGET_DIR/release/vk-bench" "$@"

# What CI does
ci: lint test

# Check that what is needed is here, and add the toolchain's parts
setup:
    #!/usr/bin/env bash
    set -euo pipefail
    missing=0
    lacks() { echo "setup: $1" >&2; missing=1; }
    need() { command -v "$1" > /dev/null || lacks "$1 is missing: $2"; }
    [ "$(uname -s)" = Linux ] || lacks "this is $(uname -s): the control plane and the tests need Linux"
    need rustup "install it from https://rustup.rs, or with your distribution's package manager"
    need cargo "it comes with rustup; is ~/.cargo/bin on PATH?"
    need cc "install a C compiler, such as your distribution's gcc"
    need git "install git"
    need go "install Go 1.26 or newer (https://go.dev/dl) and put it on PATH; the tests' control plane is built with it"
    if command -v go > /dev/null; then
        version=$(cd / && go env GOVERSION)
        if ! [[ $version =~ ^go1\.([0-9]+) ]] || (( BASH_REMATCH[1] < 26 )); then
            lacks "Go is $version: the tests' control plane needs 1.26 or newer"
        fi
    fi
    (( missing == 0 )) || exit 1
    toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    rustup toolchain list | grep -q "^$toolchain-" || rustup toolchain install "$toolchain" --profile minimal
    # Asked for only if missing: rustup would go to the network even for what is there.
    targets=$(rustup target list --installed --toolchain "$toolchain")
    # The last two are for the program that plugins/docker puts into its sandboxes.
    for target in wasm32-wasip2 wasm32-wasip1 x86_64-unknown-none aarch64-unknown-none; do
        grep -qx "$target" <<< "$targets" || rustup target add "$target" --toolchain "$toolchain"
    done
    components=$(rustup component list --installed --toolchain "$toolchain")
    for component in clippy rustfmt; do
        grep -q "^$component" <<< "$components" || rustup component add "$component" --toolchain "$toolchain"
    done

# vk-host and the tests in one build: on their own the programs have other features of tokio, and all that is above it would be
# compiled twice.
[private]
_tested:
    @{{ say }} "building vk-host and the tests (the first time takes some minutes)"
    cargo build --workspace --bins --tests

# A later build of the mock, for the tests of a swap: target/plugins/mock-next.wasm. In a target directory of its own, as cargo
# would take one build's file for the other's.
[private]
_next: setup
    @{{ say }} "building a later mock"
    cargo build --target wasm32-wasip2 --profile plugin -p vk-mock --features next --target-dir "$CARGO_TARGET_DIR/next"
    @cmp -s "$CARGO_TARGET_DIR/next/wasm32-wasip2/plugin/mock.wasm" "$CARGO_TARGET_DIR/plugins/mock-next.wasm" \
        || cp "$CARGO_TARGET_DIR/next/wasm32-wasip2/plugin/mock.wasm" "$CARGO_TARGET_DIR/plugins/mock-next.wasm"

# `-p NAME` for each plugin.
[private]
_plugin-flags:
    @for manifest in plugins/*/Cargo.toml; do \
        folder=$(basename "$(dirname "$manifest")"); \
        [[ " {{ libraries }} " == *" $folder "* ]] || sed -n '/^\[package\]/,/^\[/s/^name *= *"\(.*\)"/-p \1/p' "$manifest"; \
    done

# Copies each plugin's component from one directory to another, under the name of its folder.
[private]
_collect from to:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p "$2"
    for manifest in plugins/*/Cargo.toml; do
        folder=$(basename "$(dirname "$manifest")")
        [[ " {{ libraries }} " == *" $folder "* ]] && continue
        library=$(sed -n '/^\[lib\]/,/^\[/s/^name *= *"\(.*\)"/\1/p' "$manifest")
        [ -n "$library" ] || library=$(sed -n '/^\[package\]/,/^\[/s/^name *= *"\(.*\)"/\1/p' "$manifest" | tr - _)
        # Not touched if it is the same: a running host watches its file.
        if ! cmp -s "$1/$library.wasm" "$2/$folder.wasm"; then
            cp "$1/$library.wasm" "$2/.$folder.wasm.new"
            mv "$2/.$folder.wasm.new" "$2/$folder.wasm"
        fi
        echo "$2/$folder.wasm"
    done

[private]
_cargo-component: setup
    @cargo component --version 2> /dev/null | grep -q " {{ cargo_component }}" || cargo install cargo-component --version {{ cargo_component }} --locked

say := "printf '\\n== %s\\n'"
