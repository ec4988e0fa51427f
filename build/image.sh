#!/bin/sh
# Builds the image with whichever of docker, podman or buildah is there. IMAGE names it, NODE_IMAGE is what it is built on;
# BUILD_OPTIONS go to the engine as they are, such as mounts of a proxy's certificates.
set -eu
cd "$(dirname "$0")/.."
image=${IMAGE:-retention-operator:dev}
for engine in docker podman buildah; do
  if command -v "$engine" > /dev/null && "$engine" info > /dev/null 2>&1; then break; fi
  engine=
done
if [ -z "$engine" ]; then
  echo 'make image: none of docker, podman and buildah is here, or none answers' >&2
  exit 1
fi
# shellcheck disable=SC2086 # options are several words
"$engine" build ${NODE_IMAGE:+--build-arg "NODE_IMAGE=$NODE_IMAGE"} \
  --build-arg "REVISION=$(git rev-parse HEAD 2> /dev/null || echo unknown)" \
  ${BUILD_OPTIONS:-} --tag "$image" .
echo "$image, built with $engine"
