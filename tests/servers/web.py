"""Web servers: nginx and Apache, and the proxy tinyproxy."""

from __future__ import annotations

from pathlib import Path

from tests.servers.authority import NAME, Authority
from tests.servers.server import Server

NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  ssl_certificate {valid};
  ssl_certificate_key {valid};
  add_header X-Kind nginx;
  server {{
    listen 127.0.0.1:{http};
    listen [::1]:{http};
    location / {{ return 200 "hello\\n"; }}
    location = /echo {{ return 200 "$request_method $http_host $http_x_test $http_user_agent $is_args$args\\n"; }}
    location = /missing {{ return 404; }}
    location = /moved {{ return 302 /; }}
    location = /broken {{ return 444; }}
    location = /large {{ root {directory}; }}
  }}
  server {{
    listen 127.0.0.1:{h2c} http2;
    listen [::1]:{h2c} http2;
    location / {{ return 200 "$server_protocol $http_host\\n"; }}
  }}
  server {{
    listen 127.0.0.1:{https} ssl http2;
    listen [::1]:{https} ssl http2;
    location / {{ return 200 "$server_protocol of the default server\\n"; }}
    location = /large {{ root {directory}; }}
  }}
  server {{
    listen 127.0.0.1:{https} ssl http2;
    listen [::1]:{https} ssl http2;
    server_name {name};
    ssl_certificate {named};
    ssl_certificate_key {named};
    location / {{ return 200 "$server_protocol of {name}\\n"; }}
  }}
  server {{
    listen 127.0.0.1:{expired} ssl;
    listen [::1]:{expired} ssl;
    ssl_certificate {ended};
    ssl_certificate_key {ended};
  }}
  server {{
    listen 127.0.0.1:{mutual} ssl;
    listen [::1]:{mutual} ssl;
    ssl_client_certificate {ca};
    ssl_verify_client on;
    location / {{ return 200 "$ssl_client_s_dn\\n"; }}
  }}
}}
"""
LARGE = b"0123456789abcde\n" * 20000

APACHE = """\
ServerRoot {directory}
ServerName localhost
PidFile {directory}/pid
DefaultRuntimeDir {directory}
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authn_core_module /usr/lib/apache2/modules/mod_authn_core.so
LoadModule authn_file_module /usr/lib/apache2/modules/mod_authn_file.so
LoadModule authz_user_module /usr/lib/apache2/modules/mod_authz_user.so
LoadModule auth_basic_module /usr/lib/apache2/modules/mod_auth_basic.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
User www-data
Group www-data
DocumentRoot {directory}/root
Listen 127.0.0.1:{http}
Listen [::1]:{http}
Listen 127.0.0.1:{https}
Listen [::1]:{https}
Mutex pthread
<VirtualHost *:{https}>
SSLEngine on
SSLCertificateFile {certificate}
</VirtualHost>
<Location /private>
AuthType Basic
AuthName private
AuthUserFile {directory}/users
Require valid-user
</Location>
"""
USERS = "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"
"""ann, with the password secret."""

TINYPROXY = """\
Port {proxy}
Listen 127.0.0.1
Listen ::1
MaxClients 20
Timeout 600
"""


def nginx(authority: Authority) -> Server:
    """Return nginx with a port for each way to ask it."""
    server = Server("http", "h2c", "https", "expired", "mutual")
    text = NGINX.format(
        directory=server.directory,
        name=NAME,
        ca=authority.ca,
        valid=authority.certificate(names=("localhost",)),
        named=authority.certificate(90, loopback=False),
        ended=authority.certificate(-3),
        **server.ports,
    )
    (server.directory / "large").write_bytes(LARGE)
    server.argv = ("nginx", "-c", str(server.write("nginx.conf", text)))
    return server


def apache(certificate: Path) -> Server:
    """Return Apache with a file for all, and one for those who log in."""
    server = Server("http", "https")
    server.write("users", USERS)
    server.folder("root")
    server.write("root/index", "It works.\n")
    server.write("root/private", "for ann\n")
    text = APACHE.format(directory=server.directory, certificate=certificate, **server.ports)
    server.argv = ("apache2", "-f", str(server.write("apache.conf", text)), "-DFOREGROUND")
    return server


def tinyproxy() -> Server:
    """Return a proxy."""
    server = Server("proxy")
    server.argv = ("tinyproxy", "-d", "-c", str(server.write("tinyproxy.conf", TINYPROXY.format(**server.ports))))
    return server
