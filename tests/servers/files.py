"""A file server, vsftpd, a directory, slapd, and a news server, leafnode."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.servers.mail import shown
from tests.servers.server import Server

VSFTPD = """\
listen={listen4}
listen_ipv6={listen6}
listen_address{six}={address}
listen_port={port}
background=NO
anonymous_enable=YES
anon_root={directory}/root
secure_chroot_dir={directory}/empty
seccomp_sandbox=NO
isolate_network=NO
xferlog_enable=NO
vsftpd_log_file={directory}/log
banner_file={directory}/banner
ssl_enable=YES
allow_anon_ssl=YES
force_local_logins_ssl=NO
force_local_data_ssl=NO
rsa_cert_file={certificate}
delay_failed_login=0
max_login_fails=1
"""

SLAPD = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {directory}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {certificate}
TLSCertificateKeyFile {certificate}
TLSCACertificateFile {certificate}
{more}
database mdb
suffix dc=example,dc=org
rootdn cn=admin,dc=example,dc=org
rootpw secret
directory {directory}/data
"""
ADMIN = {"user": "cn=admin,dc=example,dc=org", "password": "secret"}
ENTRIES = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=ann,dc=example,dc=org
objectClass: inetOrgPerson
cn: ann
sn: Miller
mail: ann@example.org
"""

LEAFNODE = """\
hostname = news.checks-of-xlvs.org
server = upstream.checks-of-xlvs.org
maxfetch = 1
expire = 1
"""
SOCAT = """\
mount --bind config /etc/news/leafnode/config
mount --bind spool /var/spool/news
socat TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork EXEC:/usr/sbin/leafnode,nofork &
exec socat TCP6-LISTEN:{port},bind=[::1],reuseaddr,fork EXEC:/usr/sbin/leafnode,nofork
"""


def vsftpd(certificate: Path, family: int) -> Server:
    """Return a server of anonymous FTP, at the loopback address of one family."""
    server = Server("ftp")
    server.write("root/hello", "hello from vsftpd\n")
    (server.folder("root") / "large").write_bytes(b"0123456789abcde\n" * (1 << 18))
    server.folder("empty")
    server.write("banner", "first line\nsecond line\n")
    text = VSFTPD.format(
        directory=server.directory,
        certificate=shown(server, certificate),
        port=server.ports["ftp"],
        listen4="NO" if family == 6 else "YES",
        listen6="YES" if family == 6 else "NO",
        six="6" if family == 6 else "",
        address="::1" if family == 6 else "127.0.0.1",
    )
    server.argv = ("vsftpd", str(server.write("vsftpd.conf", text)))
    server.families = (family,)
    return server


def slapd(certificate: Path, more: str = "") -> Server:
    """Return a directory with two entries; *more* is added to its configuration."""
    server = Server("ldap", "ldaps")
    server.folder("data", 0o777)
    text = SLAPD.format(directory=server.directory, certificate=shown(server, certificate), more=more)
    config, entries = server.write("slapd.conf", text), server.write("entries", ENTRIES)
    server.before = [("slapadd", "-f", str(config), "-l", str(entries))]
    urls = [f"{kind}://{host}:{server.ports[kind]}" for kind in ("ldap", "ldaps") for host in ("127.0.0.1", "[::1]")]
    server.argv = ("slapd", "-d", "0", "-h", " ".join(urls), "-f", str(config))
    return server


def leafnode() -> Server:
    """Return a news server with one group, started for each connection by socat.

    Its paths are fixed: it sees its files there in a mount namespace of its own.
    """
    server = Server("nntp")
    server.write("config", LEAFNODE)
    for name in ("", "leaf.node", "out.going", "failed.postings", "interesting.groups", "message.id", "temp.files"):
        shutil.chown(server.folder(f"spool/{name}"), "news", "news")
    server.write("spool/leaf.node/groupinfo", "local.test 1 1 0 -\n")
    port = server.ports["nntp"]
    server.argv = ("unshare", "--mount", "sh", str(server.write("run", SOCAT.format(port=port))))
    return server
