#!/bin/sh
# Makes an image to build on (NODE_IMAGE) where none can be pulled, unless it is there: Debian by debootstrap, with the Node
# of the lock file and this machine's npm. Needs root, debootstrap, docker, podman or buildah, and `npm ci` done.
# usage: node-image.sh NAME
set -eu
cd "$(dirname "$0")/.."
image=$1
for engine in docker podman buildah; do
  if command -v "$engine" > /dev/null && "$engine" info > /dev/null 2>&1; then break; fi
done
if [ -n "$("$engine" images --quiet "$image" 2> /dev/null)" ]; then exit 0; fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
debootstrap --variant=minbase bookworm "$root" >&2
cp node_modules/node-linux-*/bin/node "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules"
cp -r "$(npm root --global)/npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
if [ "$engine" = buildah ]; then
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$root" /
  buildah commit --quiet --rm "$container" "$image"
else
  tar -C "$root" -c . | "$engine" import - "$image"
fi
