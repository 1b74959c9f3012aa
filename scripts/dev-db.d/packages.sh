# shellcheck shell=bash
# Unpacks a server from Debian's packages into a folder of this checkout. This needs no root and installs nothing.
# scripts/dev-db sets `packages_cache`; private.sh reads `unpacked_root`.
# shellcheck disable=SC2034,SC2154

# Debian's stable releases have MariaDB but not MySQL; unstable has both.
unpack_from_debian() {
  local kind=$1 root=$packages_cache/$1 suite size packages
  if [ -d "$root" ]; then
    unpacked_root=$root
    return
  fi
  from_debian || return 1
  case $kind in
    mysql) suite=sid size=67 packages=(mysql-server-core mysql-client-core mysql-client openssl) ;;
    mariadb) suite=$release size=20 packages=(mariadb-server-core mariadb-client-core openssl) ;;
    galera) suite=$release size=10 packages=(galera-4) ;;
  esac
  say "downloading $(name_of "$kind") from Debian's packages (about $size MB, once)"
  download "$suite" "$root.new" "${packages[@]}"
  say "unpacking"
  local package
  for package in "$root.new"/apt/cache/archives/*.deb; do
    dpkg -x "$package" "$root.new" || fail "failed to unpack \`$package\`; is the disk full?"
  done
  rm -rf "$root.new/apt"
  # Only a complete folder gets the final name.
  mv "$root.new" "$root"
  unpacked_root=$root
}

# Sets `mirror`, `release` and `keyring`. False if this system is not Debian or its packages cannot be downloaded.
from_debian() {
  local id
  id=$(. /etc/os-release 2>/dev/null && printf '%s' "${ID:-}")
  [ "$id" = debian ] && command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-sid}")
  for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp} ''; do
    [ ! -r "$keyring" ] || break
  done
  [ -n "$keyring" ] || return 1
  # The mirror that this machine's apt already uses for its release.
  # shellcheck disable=SC2016 # These are apt's own variables.
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 2>/dev/null |
    awk -v release="$release" '$3 == "main" && ($2 == release || $2 ~ /^(oldstable|stable|testing|unstable|sid)$/) && !found { found = $1 } END { print found }')
  [ -n "$mirror" ]
}

# download SUITE FOLDER PACKAGES…: downloads the packages and all their dependencies, even those that are installed.
download() {
  local suite=$1 root=$2 apt=$2/apt options
  shift 2
  rm -rf "$root"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/status"
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$apt/sources.list"
  options=(
    -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o Dir::State::Lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
    -o APT::Install-Recommends=false -o APT::Sandbox::User= -o APT::Get::AllowUnauthenticated=false
    -o Acquire::Languages=none -o Acquire::Retries=3
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
  )
  # This machine's apt hooks may make `update` fail although it has fetched the lists, so only the download below counts.
  apt-get "${options[@]}" -q update >"$apt/log" 2>&1 </dev/null || true
  apt-get "${options[@]}" -q -y --download-only install "$@" >>"$apt/log" 2>&1 </dev/null || {
    tail -n 8 "$apt/log" >&2
    fail "failed to download \`$*\` from Debian's $suite; check the network and try again, or install a server yourself"
  }
}

name_of() { case $1 in mysql) echo MySQL ;; mariadb) echo MariaDB ;; galera) echo Galera ;; esac; }
