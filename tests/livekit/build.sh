#!/usr/bin/env bash
# Builds LiveKit out of its Go module, into target/livekit/livekit-server, and prints that path. Done once.
#   tests/livekit/build.sh
# CI does not build it: this takes ten minutes of two cores. Without it, what needs LiveKit is checked by hand, as
# docs/engines.md says. Later versions than this one replace modules by forks that no proxy of Go modules has.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=v1.13.5
out=$PWD/target/livekit/livekit-server
[[ -x $out && $(cat "$out.version" 2>/dev/null) == "$version" ]] && { echo "$out"; exit 0; }

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "build.sh: error: LiveKit needs Go 1.26: https://go.dev/dl" >&2; exit 1; }

mkdir -p target/livekit
bin=$(mktemp -d target/livekit/bin.XXXXXX)
trap 'rm -rf "$bin"' EXIT
CGO_ENABLED=0 GOBIN=$PWD/$bin go install -trimpath -ldflags '-s -w' \
  "github.com/livekit/livekit-server/cmd/server@$version"
mv "$bin/server" "$out"
echo "$version" >"$out.version"
echo "$out"
