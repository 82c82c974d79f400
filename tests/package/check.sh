#!/bin/bash
# Installs and removes the .deb in a bare Debian, and runs the image's files as nobody with a read-only root.
# After build.sh, as root. Where it cannot be run it says why, in the file NOT_RUN, if that is set.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/target/package
PATH=$PATH:/usr/sbin:/sbin

not_run() {
    echo "make packages: NOT run: $1" >&2
    [ -z "${NOT_RUN:-}" ] || echo "$1" >"$NOT_RUN"
    exit 0
}
fail() {
    echo "make packages: $1" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || not_run "needs root"
unshare --mount true 2>/dev/null || not_run "unshare is not allowed here"

# A bare Debian, kept for the next time.
base=$out/debian.tar
if [ ! -f "$base" ]; then
    command -v debootstrap >/dev/null || not_run "needs debootstrap"
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    rm -rf "$out/debian"
    debootstrap --variant=minbase "$suite" "$out/debian" >"$out/debootstrap.log" 2>&1 ||
        not_run "debootstrap failed: see $out/debootstrap.log"
    tar -C "$out/debian" -cf "$base.part" .
    mv "$base.part" "$base"
fi
rm -rf "$out/debian"
mkdir "$out/debian"
tar -C "$out/debian" -xf "$base"
inside() { unshare --mount --pid --fork --kill-child --root="$out/debian" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
files() { (cd "$out/debian" && find . -xdev \( -name 'threadcast*' -o -name '_threadcast' \) | sort); }

[ -z "$(files)" ] || fail "the bare Debian is not bare: $(files)"
cp "$out"/threadcast_*.deb "$out/debian/threadcast.deb"
inside dpkg --install /threadcast.deb
rm "$out/debian/threadcast.deb"
inside threadcast --version
inside threadcast --check --port 0 --config /etc/threadcast/threadcast.toml >/dev/null
for file in usr/bin/threadcast usr/lib/systemd/system/threadcast.service usr/lib/systemd/system/threadcast.socket \
    usr/share/man/man1/threadcast.1.gz usr/share/bash-completion/completions/threadcast \
    usr/share/zsh/vendor-completions/_threadcast usr/share/fish/vendor_completions.d/threadcast.fish; do
    # A Debian without manuals leaves them out.
    [ -s "$out/debian/$file" ] || [[ $file == usr/share/man/* ]] || fail "the package has no $file"
done
echo '# mine' >>"$out/debian/etc/threadcast/threadcast.toml"
inside dpkg --remove threadcast
grep -q '# mine' "$out/debian/etc/threadcast/threadcast.toml" || fail "a removal took the configuration along"
[ ! -e "$out/debian/usr/bin/threadcast" ] || fail "a removal left the program"
inside dpkg --purge threadcast
[ -z "$(files | grep -v '/var/')" ] || fail "a purge left $(files)"
rm -rf "$out/debian"

# The image: the files that the Dockerfile copies, as the user that it names.
image=$out/image
rm -rf "$image"
mkdir -p "$image/proc"
sed -n 's/^COPY \(.*\) \/\(.*\)$/\1 \2/p' "$out/container/Dockerfile" | while read -r from to; do
    cp "$out/container/$from" "$image/$to"
done
user=$(sed -n 's/^USER \([0-9]*\):.*/\1/p' "$out/container/Dockerfile")
port=$((20000 + RANDOM % 10000))
# Ends, and all below it, when its parent does.
unshare --mount --pid --fork --kill-child bash -c '
    mount --bind "$1" "$1"
    mount -o remount,ro,bind "$1"
    mount -t proc proc "$1/proc"
    exec env -i unshare --root="$1" --setgid "$2" --setuid "$2" /threadcast --address 127.0.0.1 --port "$3"
' - "$image" "$user" "$port" >"$out/image.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null || true' EXIT
url=http://127.0.0.1:$port
asked=0
until "$out/threadcast" --health "$url/" 2>/dev/null; do
    kill -0 $server 2>/dev/null || fail "it has ended: $(cat "$out/image.log")"
    asked=$((asked + 1))
    [ $asked -lt 300 ] || fail "no answer: $(cat "$out/image.log")"
    sleep 0.1
done
# The health check inside, which has nothing but the program.
unshare --root="$image" --setgid "$user" --setuid "$user" /threadcast --health "$url/"
! unshare --root="$image" --setgid "$user" --setuid "$user" /threadcast --health "$url/none" 2>/dev/null ||
    fail "an unhealthy server is healthy"
grep -q "threadcast is at $url/" "$out/image.log" || fail "no first line: $(cat "$out/image.log")"
grep -q "/bin/sh is missing" "$out/image.log" || fail "it does not say what the lack of sh costs: $(cat "$out/image.log")"
inner=$(pgrep -P "$server" | head -n 1)
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$inner/status")" = "$user" ] || fail "it runs as another user"
kill -TERM "$inner"
wait $server || fail "it ended with $?: $(cat "$out/image.log")"
trap - EXIT
rm -rf "$image"
echo "make packages: the .deb came and went, the image ran as user $user"
