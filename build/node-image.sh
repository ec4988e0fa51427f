#!/bin/sh
# Makes an image to build on (NODE_IMAGE) where none can be pulled, unless it is there: Debian by debootstrap, with the Node
# of the lock file and this machine's npm. Needs root, debootstrap, podman or buildah, and `npm ci` done.
# usage: node-image.sh NAME
set -eu
cd "$(dirname "$0")/.."
image=$1
if command -v podman > /dev/null; then engine=podman; else engine=buildah; fi
if [ -n "$("$engine" images --quiet "$image" 2> /dev/null)" ]; then exit 0; fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase bookworm "$root" >&2
cp node_modules/node-linux-*/bin/node "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules"
cp -r "$(npm root --global)/npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
if [ "$engine" = podman ]; then
  tar -C "$root" -c . | podman import - "$image"
else
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$root" /
  buildah commit --quiet --rm "$container" "$image"
fi
