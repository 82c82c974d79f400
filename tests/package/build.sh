#!/bin/sh
# Makes the packages below target/package: a program that needs no library, a .deb, and a container's context.
# Where rustup has no musl target (rustup target add x86_64-unknown-linux-musl) it takes the usual one, and says so.
set -eu
cd "$(dirname "$0")/../.."
CARGO=${CARGO:-cargo}
out=target/package
here=tests/package
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
machine=$(uname -m)
musl=$machine-unknown-linux-musl
libdir=$(rustc --print target-libdir --target "$musl" 2>/dev/null || true)
if [ -n "$libdir" ] && [ -d "$libdir" ] && command -v musl-gcc >/dev/null; then
    target="--target $musl"
    built=target/$musl/release/threadcast
    depends=
    export "CC_$(echo "$musl" | tr - _)=musl-gcc"
else
    echo "make package: no $musl here, so the program needs glibc: rustup target add $musl, apt-get install musl-tools" >&2
    target=
    built=target/release/threadcast
    depends="Depends: libc6, libgcc-s1"
fi
# shellcheck disable=SC2086 # two words, or none
"$CARGO" build --locked --features program --release --bin threadcast $target
mkdir -p "$out"
install -m 755 "$built" "$out/threadcast"
strip "$out/threadcast"

# The .deb.
root=$out/deb
rm -rf "$root"
mkdir -p "$root/DEBIAN" "$root/usr/lib/systemd/system" "$root/usr/share/man/man1" "$root/usr/share/doc/threadcast" \
    "$root/usr/share/bash-completion/completions" "$root/usr/share/zsh/vendor-completions" \
    "$root/usr/share/fish/vendor_completions.d"
install -D -m 755 "$out/threadcast" "$root/usr/bin/threadcast"
install -D -m 644 "$here/threadcast.toml" "$root/etc/threadcast/threadcast.toml"
install -m 644 "$here/threadcast.service" "$here/threadcast.socket" "$root/usr/lib/systemd/system/"
"$out/threadcast" --man | gzip -9n >"$root/usr/share/man/man1/threadcast.1.gz"
"$out/threadcast" --completions bash >"$root/usr/share/bash-completion/completions/threadcast"
"$out/threadcast" --completions zsh >"$root/usr/share/zsh/vendor-completions/_threadcast"
"$out/threadcast" --completions fish >"$root/usr/share/fish/vendor_completions.d/threadcast.fish"
install -m 644 LICENSE "$root/usr/share/doc/threadcast/copyright"
gzip -9n <CHANGELOG.md >"$root/usr/share/doc/threadcast/changelog.gz"
echo /etc/threadcast/threadcast.toml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$root/DEBIAN/$script"
done
chmod -R u=rwX,go=rX "$root"
architecture=$(dpkg --print-architecture)
{
    echo "Package: threadcast"
    echo "Version: $version"
    echo "Architecture: $architecture"
    echo "Maintainer: the authors of threadcast <threadcast@localhost>"
    echo "Section: web"
    echo "Priority: optional"
    echo "Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f 1)"
    [ -z "$depends" ] || echo "$depends"
    echo "Recommends: ca-certificates"
    echo "Description: WebSocket server with one blocking thread per client"
    echo " It pushes the local time to each client once a second, and what is published."
} >"$root/DEBIAN/control"
deb=$out/threadcast_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$deb" >/dev/null

# The container's context.
rm -rf "$out/container"
mkdir "$out/container"
cp "$here/Dockerfile" "$out/threadcast" "$out/container/"
ls -l "$out/threadcast" "$deb" "$out/container/Dockerfile"
