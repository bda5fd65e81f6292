"""A real mail server for tests, which wants a login and keeps what it gets.

Reads one line of JSON: {"username", "password"} and, for STARTTLS, "certificate" and "key" (PEM
files). Listens on a free port of 127.0.0.1, says {"port"}, and then a line of JSON for each mail
({"mail": text, "from", "to", "login"}) and for each login that it refuses ({"refused": name}).
Ends when its standard input does.
"""
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(**what):
    print(json.dumps(what), flush=True)


class Keeper:
    async def handle_DATA(self, server, session, envelope):
        login = session.auth_data.login.decode() if session.auth_data else None
        say(mail=envelope.content.decode("utf-8", "replace"), login=login, tls=session.ssl is not None,
            **{"from": envelope.mail_from, "to": envelope.rcpt_tos})
        return "250 OK"


async def main():
    wanted = json.loads(sys.stdin.readline())

    def authenticate(server, session, envelope, mechanism, auth_data):
        right = isinstance(auth_data, LoginPassword) and (
            auth_data.login.decode(), auth_data.password.decode()) == (wanted["username"], wanted["password"])
        if not right:
            say(refused=auth_data.login.decode("utf-8", "replace"))
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=auth_data)

    tls = None
    if "certificate" in wanted:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(wanted["certificate"], wanted["key"])

    def session():
        return SMTP(Keeper(), hostname="mail.test", authenticator=authenticate, auth_required=True,
                    auth_require_tls=tls is not None, require_starttls=tls is not None, tls_context=tls)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started this goes away


asyncio.run(main())
