#!/bin/sh
# Lays out the root file system of the image in a folder: Node with its libraries, the program, what every program
# expects to find in /etc, and what scanners look for. Runs in the Dockerfile's first stage, in /app, after the build.
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
# Scanners look for *.cdx.json everywhere.
cp -r ./*.js ./*.cdx.json cache "$root/app"
# Node names the folder of its cache after the user, who is another one in the image.
for made in "$root"/app/cache/*-"$(id -u)"; do mv "$made" "${made%-*}-65532"; done
# Under whose terms all this is.
mkdir "$root/licenses"
cp licenses "$root/licenses/packages"
cp LICENSE "$root/licenses/retention-operator"
cp "$(dirname "$node")/../LICENSE" "$root/licenses/node"
# Which Debian packages it has, where scanners look in images without a package manager.
cp -L /etc/os-release "$root/etc/os-release"
mkdir -p "$root/var/lib/dpkg/status.d"
for package in libc6 libgcc-s1 libstdc++6; do
  cp -L "/usr/share/doc/$package/copyright" "$root/licenses/$package"
  dpkg -s "$package" > "$root/var/lib/dpkg/status.d/$package"
done
chmod -R a+rX "$root"
