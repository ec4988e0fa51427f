#!/bin/sh
# Builds the image with whichever of docker, podman or buildah is there. IMAGE names it, NODE_IMAGE is what it is built on;
# BUILD_OPTIONS go to the engine as they are. ARCHIVE is a file for the image, as `docker load` and `ctr images import` read.
set -eu
cd "$(dirname "$0")/.."
# The tag that the chart and deploy/base ask for.
version=$(sed -n 's/^  "version": "\(.*\)",\{0,1\}$/\1/p' package.json)
image=${IMAGE:-retention-operator:$version}
for engine in docker podman buildah; do
  if command -v "$engine" > /dev/null && "$engine" info > /dev/null 2>&1; then break; fi
  engine=
done
if [ -z "$engine" ]; then
  echo 'make image: none of docker, podman and buildah is here, or none answers' >&2
  exit 1
fi
# npm in the build trusts whom Node and npm trust here, such as a company's proxy.
authority=${NODE_EXTRA_CA_CERTS:-$(npm config get cafile)}
npmrc=$(mktemp)
trap 'rm -f "$npmrc"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mounts=
if [ -f "$authority" ] && [ "$engine" != docker ]; then
  echo "cafile=$authority" > "$npmrc"
  mounts="--volume $npmrc:/root/.npmrc:ro --volume $authority:$authority:ro"
fi
# shellcheck disable=SC2086 # options are several words
"$engine" build --network host $mounts ${NODE_IMAGE:+--build-arg "NODE_IMAGE=$NODE_IMAGE"} \
  --build-arg "VERSION=$version" \
  --build-arg "REVISION=$(git describe --always --dirty --abbrev=40 --exclude='*' 2> /dev/null || echo unknown)" \
  ${BUILD_OPTIONS:-} --tag "$image" .
echo "$image, built with $engine"
if [ -n "${ARCHIVE:-}" ]; then
  rm -f "$ARCHIVE"
  case $engine in
    buildah) buildah push "$image" "docker-archive:$ARCHIVE:$image" ;;
    *) "$engine" save --output "$ARCHIVE" "$image" ;;
  esac
fi
