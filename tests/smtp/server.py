"""A real mail server for tests, which keeps what it gets.

Reads one line of JSON, of which all is optional:
  "username", "password"  it takes mails from nobody else; without them from everybody
  "certificate", "key"    PEM files, for STARTTLS; with "tls": true for TLS from the first byte
  "port"                  where it listens on 127.0.0.1; else on a free one
  "receivers"             {address: [answer, ...]}: what it says to that receiver, one after the other;
                          the last one stays, and "" takes the mail
  "mails"                 [answer, ...]: the same for a mail as a whole
Says {"port"}, and then a line of JSON for each mail ({"mail": text, "from", "to", "login", "headers",
"text", "html"}, the last three as Python's own parser reads them), for each
login that it refuses ({"refused": name}) and each receiver ({"receiver": address, "answer"}).
Ends when its standard input does.
"""
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(**what):
    print(json.dumps(what), flush=True)


def next_of(answers):
    """The next of a list of answers; the last one stays."""
    return answers.pop(0) if len(answers) > 1 else answers[0] if answers else ""


class Keeper:
    def __init__(self, wanted):
        self.receivers = wanted.get("receivers", {})
        self.mails = wanted.get("mails", [])
        self.is_wrapped = wanted.get("tls", False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = next_of(self.receivers.get(address, []))
        if address in self.receivers:
            say(receiver=address, answer=answer)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = next_of(self.mails)
        if answer:
            say(answer=answer)
            return answer
        login = session.auth_data.login.decode() if session.auth_data else None
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        headers = {}
        for name, value in mail.items():
            headers.setdefault(name, []).append(str(value))
        parts = {kind: mail.get_body((kind,)) for kind in ("plain", "html")}
        content = {kind: part and part.get_content() for kind, part in parts.items()}
        say(mail=envelope.content.decode("utf-8", "replace"), login=login,
            tls=self.is_wrapped or session.ssl is not None,
            headers=headers, text=content["plain"], html=content["html"],
            **{"from": envelope.mail_from, "to": envelope.rcpt_tos})
        return "250 OK"


async def main():
    wanted = json.loads(sys.stdin.readline())

    def authenticate(server, session, envelope, mechanism, auth_data):
        right = isinstance(auth_data, LoginPassword) and (
            auth_data.login.decode(), auth_data.password.decode()) == (wanted.get("username"), wanted.get("password"))
        if not right:
            say(refused=auth_data.login.decode("utf-8", "replace"))
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=auth_data)

    tls = None
    if "certificate" in wanted:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(wanted["certificate"], wanted["key"])
    is_wrapped = wanted.get("tls", False)
    has_starttls = tls is not None and not is_wrapped
    keeper = Keeper(wanted)  # all connections share what it says next

    def session():
        return SMTP(keeper, hostname="mail.test", authenticator=authenticate,
                    auth_required="username" in wanted, auth_require_tls=has_starttls,
                    require_starttls=has_starttls, tls_context=tls if has_starttls else None)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(session, "127.0.0.1", wanted.get("port", 0),
                                      ssl=tls if is_wrapped else None)
    say(port=server.sockets[0].getsockname()[1])
    await loop.run_in_executor(None, sys.stdin.read)  # until whoever started this goes away


asyncio.run(main())
