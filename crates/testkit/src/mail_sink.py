"""Takes mail by SMTP and prints it: `PORT n`, then a line of JSON for each message."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

options = json.loads(sys.argv[1])


class Sink:
    async def handle_DATA(self, server, session, envelope):
        if options["answer"] != 250:
            return f"{options['answer']} not taken from {envelope.mail_from}"
        message = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8", "replace"),
            "user": session.auth_data.login.decode() if session.authenticated else None,
            "hello": session.host_name,
        }
        print(json.dumps(message), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=[data.login.decode(), data.password.decode()] == options["login"], auth_data=data)


async def main():
    context = None
    if options["tls"] != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])
    starttls = options["tls"] == "starttls"

    def connection():
        return SMTP(
            Sink(),
            hostname="sink.test",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=authenticate if options["login"] else None,
            auth_required=bool(options["login"]),
            auth_require_tls=starttls,
            loop=asyncio.get_running_loop(),
        )

    implicit = context if options["tls"] == "implicit" else None
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, ssl=implicit)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
