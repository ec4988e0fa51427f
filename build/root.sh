#!/bin/sh
# Lays out the root file system of the image in a folder: Node with its libraries, the program, and what every program
# expects to find in /etc. Runs in the Dockerfile's first stage, in /app, after the build.
set -eu
root=$1
node=$(echo /app/node_modules/node-linux-*/bin/node)

mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/app" "$root/tmp"
chmod 1777 "$root/tmp"
cp "$node" "$root/usr/local/bin/node"
ldd "$node" | grep -o '/[^ ]*' | while read -r library; do cp --parents -L "$library" "$root"; done

# Mozilla's certificates, as Node carries them: for whoever wants a file.
"$node" -p "require('node:tls').rootCertificates.join('\n')" > "$root/etc/ssl/certs/ca-certificates.crt"
echo 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' > "$root/etc/passwd"
echo 'nonroot:x:65532:' > "$root/etc/group"
# Without it the C library would ask DNS before /etc/hosts.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

# The cache knows the program by its path and by the flags of the Node that compiled it: both as they will be.
mv dist/* .
export NODE_COMPILE_CACHE=/app/cache
"$node" --max-semi-space-size=2 warm.js
cp -r ./*.js cache "$root/app"
rm "$root/app/warm.js"
chmod -R a+rX "$root"
