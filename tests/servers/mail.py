"""Mail servers: exim for SMTP and submission, dovecot for IMAP and POP."""

from __future__ import annotations

from pathlib import Path

from tests.servers.server import Server

USER = {"user": "ann", "password": 'se"c\\ret'}
"""Who may log in; the signs need care in IMAP."""

EXIM = """\
primary_hostname = mail.example.org
exim_path = /usr/sbin/exim4
spool_directory = {directory}/spool
log_file_path = {directory}/spool/%slog
pid_file_path = {directory}/spool/pid
local_interfaces = <; 127.0.0.1 ; ::1
daemon_smtp_ports = {smtp} : {submissions}
tls_on_connect_ports = {submissions}
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {certificate}
auth_advertise_hosts = *
rfc1413_query_timeout = 0s
host_lookup =
keep_environment =
smtp_accept_max = 0
acl_smtp_connect = connect
begin acl
connect:
  {connect}
begin authenticators
{authenticators}
"""
PLAIN = """\
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and {{eq{$auth2}{ann}}{eq{$auth3}{se"c\\\\ret}}}}
"""
LOGIN = """\
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and {{eq{$auth1}{ann}}{eq{$auth2}{se"c\\\\ret}}}}
"""

DOVECOT = """\
base_dir = {directory}/run
state_dir = {directory}/run
log_path = {directory}/log
protocols = imap pop3
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}
disable_plaintext_auth = no
auth_failure_delay = 0
login_trusted_networks =
mail_location = maildir:{directory}/mail/%u
listen = 127.0.0.1, ::1
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={directory}/mail
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop}
  }}
  inet_listener pop3s {{
    port = {pops}
    ssl = yes
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


def exim(certificate: Path, connect: str = "accept", authenticators: str = PLAIN + LOGIN) -> Server:
    """Return exim, which answers connections by the rule *connect*."""
    server = Server("smtp", "submissions")
    server.folder("spool", 0o777)
    text = EXIM.format(
        directory=server.directory,
        certificate=shown(server, certificate),
        connect=connect,
        authenticators=authenticators,
        **server.ports,
    )
    server.argv = ("exim4", "-bdf", "-C", str(server.write("exim.conf", text)))
    return server


def dovecot(certificate: Path) -> Server:
    """Return dovecot with one user."""
    server = Server("imap", "imaps", "pop", "pops")
    server.folder("mail", 0o777)
    server.write("users", f"{USER['user']}:{{PLAIN}}{USER['password']}::::::\n")
    text = DOVECOT.format(directory=server.directory, certificate=shown(server, certificate), **server.ports)
    server.argv = ("dovecot", "-F", "-c", str(server.write("dovecot.conf", text)))
    return server


def shown(server: Server, certificate: Path) -> Path:
    """Return a copy of the certificate and its key, where the server's user can read it."""
    return server.write("certificate.pem", certificate.read_text())
