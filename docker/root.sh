#!/bin/sh
# Puts the root of the image together: sh root.sh NEW GIVEN makes the folder NEW from the folder GIVEN and this machine's files.
#
# The libraries are those that the binary names, and those that it opens later where they are mounted or brought: the
# runtime of the embedding model and a GPU's driver.
set -eu
new=$1
given=$2
opened_later="libstdc++.so.6 libgcc_s.so.1 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1"

folder() { install -d -m "${2:-755}" "$new$1"; }

for path in /etc/outrigger /etc/ssl/certs /usr/bin /usr/lib /usr/lib64 /usr/share/doc/outrigger /var/lib/dpkg/status.d; do
  folder "$path"
done
folder /tmp 1777
ln -s usr/bin "$new/bin"
ln -s usr/lib "$new/lib"
ln -s usr/lib64 "$new/lib64"

# Each where it lies, its links followed: /lib is /usr/lib here as there.
bring() {
  real="$(readlink -f "$(dirname "$1")")"
  folder "$real"
  cp -L "$1" "$new$real/"
  # Who it is from: its licence, and its version for those who look for known faults.
  package=$(dpkg -S "$1" 2>/dev/null || dpkg -S "$real/$(basename "$1")" 2>/dev/null || dpkg -S "$(readlink -f "$1")")
  package=${package%%:*}
  folder "/usr/share/doc/$package"
  cp -L "/usr/share/doc/$package/copyright" "$new/usr/share/doc/$package/"
  dpkg-query -s "$package" >"$new/var/lib/dpkg/status.d/$package"
}

named=$(ldd "$given/outrigger")
case $named in *"not found"*) echo "$named" >&2; exit 1 ;; esac
for library in $(echo "$named" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p'); do
  bring "$library"
done
libraries=$(dirname "$(echo "$named" | sed -n 's/.*libc\.so\.6 => \(\/[^ ]*\).*/\1/p')")
for name in $opened_later; do
  path=$(find -L "$libraries" "/usr$libraries" -maxdepth 1 -name "$name" 2>/dev/null | head -1)
  [ -n "$path" ] || { echo "$name is not here" >&2; exit 1; }
  bring "$path"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$new/etc/ssl/certs/"
cp -L /etc/os-release /etc/debian_version "$new/etc/"
printf 'hosts: files dns\n' >"$new/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/none\noutrigger:x:65532:65532:outrigger:/var/lib/outrigger:/none\n' >"$new/etc/passwd"
printf 'root:x:0:\noutrigger:x:65532:\n' >"$new/etc/group"
install -m 644 "$given/LICENSE" "$new/usr/share/doc/outrigger/"
install -m 644 "$given/outrigger.toml" "$new/etc/outrigger/"
install -m 755 "$given/outrigger" "$new/usr/bin/"
# What is kept there is the process's own; a named volume takes its owner from here.
install -d -o 65532 -g 65532 -m 750 "$new/var/lib/outrigger"
