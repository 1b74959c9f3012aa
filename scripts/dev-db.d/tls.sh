# shellcheck shell=bash
# Makes a certificate for 127.0.0.1 and localhost, signed by a CA of this checkout, so that `verify-identity` can be tested.
# MySQL's default certificate names no host, and MariaDB before 11.4 has no default certificate.

# make_certificates FOLDER ROOT: makes the files unless they exist. False without openssl; the server then uses
# its default certificate, if it has one.
make_certificates() {
  local folder=$1 root=$2 openssl
  [ ! -r "$folder/server.pem" ] || return 0
  if [ -n "$root" ] && [ -x "$root/usr/bin/openssl" ]; then
    how_to_run "$root" /usr/bin/openssl
    openssl=("${run[@]}")
  elif command -v openssl >/dev/null; then
    openssl=(openssl)
  else
    return 1
  fi
  rm -rf "$folder.new"
  mkdir -p "$folder.new"
  cat >"$folder.new/openssl.cnf" <<'CNF'
[req]
distinguished_name = subject
[subject]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
CNF
  (
    cd "$folder.new"
    "${openssl[@]}" req -x509 -config openssl.cnf -extensions ca -newkey rsa:2048 -nodes -days 3650 \
      -subj '/CN=airun dev-db CA' -keyout ca-key.pem -out ca.pem
    "${openssl[@]}" req -config openssl.cnf -newkey rsa:2048 -nodes \
      -subj '/CN=localhost' -keyout server-key.pem -out server.csr
    "${openssl[@]}" x509 -req -in server.csr -CA ca.pem -CAkey ca-key.pem -set_serial 2 -days 3650 \
      -extfile openssl.cnf -extensions server -out server.pem
  ) >"$folder.new/log" 2>&1 || {
    tail -n 4 "$folder.new/log" >&2
    fail "failed to make a certificate with openssl"
  }
  mv "$folder.new" "$folder"
}
