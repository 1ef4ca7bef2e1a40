#!/usr/bin/env bash
# Builds MediaMTX out of its Go module, into target/mediamtx/mediamtx, and prints that path. Done once.
#   tests/mediamtx/build.sh
# `go install` can't: two files of the module are made by `go generate`, which downloads from GitHub. They are its
# version, and hls.js, which comes from npm here and which no test needs.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=v1.20.1 hls=1.7.0
out=$PWD/target/mediamtx/mediamtx
[[ -x $out && $(cat "$out.version" 2>/dev/null) == "$version" ]] && { echo "$out"; exit 0; }

PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || { echo "build.sh: error: MediaMTX needs Go 1.26: https://go.dev/dl" >&2; exit 1; }

mkdir -p target/mediamtx
source=$(mktemp -d target/mediamtx/source.XXXXXX)
trap 'rm -rf "$source"' EXIT
module=$(go mod download -json "github.com/bluenviron/mediamtx@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
cp -r --no-preserve=mode "$module/." "$source"
echo "$version" >"$source/internal/core/VERSION"
if command -v npm >/dev/null && npm pack --silent --pack-destination "$source" "hls.js@$hls" >/dev/null 2>&1; then
  tar -xzf "$source/hls.js-$hls.tgz" -C "$source" package/dist/hls.min.js
  mv "$source/package/dist/hls.min.js" "$source/internal/servers/hls/hls.min.js"
else
  # Only the page of HLS players needs the script.
  : >"$source/internal/servers/hls/hls.min.js"
fi
(cd "$source" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out.new" .)
mv "$out.new" "$out"
echo "$version" >"$out.version"
echo "$out"
