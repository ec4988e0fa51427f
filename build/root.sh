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
"$node" --max-semi-space-size=2 build/warm.js
cp -r ./*.js cache "$root/app"
# Node names the folder of its cache after the user, who is another one in the image.
for made in "$root"/app/cache/*-"$(id -u)"; do mv "$made" "${made%-*}-65532"; done
# Under whose terms all this is.
mkdir "$root/licenses"
for package in node_modules/*/LICEN[CS]E* node_modules/@*/*/LICEN[CS]E*; do
  if [ -f "$package" ]; then (echo "== $package"; cat "$package"; echo) >> "$root/licenses/packages"; fi
done
cp LICENSE "$root/licenses/retention-operator"
cp "$(dirname "$node")/../LICENSE" "$root/licenses/node"
for package in libc6 libgcc-s1 libstdc++6; do cp -L "/usr/share/doc/$package/copyright" "$root/licenses/$package"; done
chmod -R a+rX "$root"
