//! Threats R1 where no edge stands in front: the control API's own listeners. One request in is one request, or none.

use testkit::raw::Connection;

use crate::node::Node;

/// What must never be answered as a request of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Asked last: who is still listening answers and closes.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Everything that a listener says to these bytes until it closes: the status of each answer.
async fn answers(listener: std::net::SocketAddr, bytes: &str) -> Vec<String> {
    let mut client = Connection::plain(listener).await.unwrap();
    client.send(bytes.as_bytes()).await.unwrap();
    let all = client.rest().await.unwrap();
    let text = String::from_utf8_lossy(&all).into_owned();
    text.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

#[tokio::test]
async fn r1_the_control_apis_listeners_have_one_reading_of_a_request() {
    let node = Node::start();
    let chunks = format!("0\r\n\r\n{SMUGGLED}");
    let length = chunks.len();
    for listener in ["control_api", "internal"] {
        let listener = node.address(listener);
        let ask = async |method: &str, fields: &str, body: &str| {
            let head = format!("{method} /v1/tenants HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
            answers(listener, &format!("{head}{body}{LAST}")).await
        };
        // What has two readings, or none, is refused, and nothing behind it is looked at.
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: +5",
            "Content-Length: -1",
            "Content-Length: 0x5",
            "Content-Length: 5, 6",
            "Content-Length: 99999999999999999999",
            "Content-Length : 5",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding : chunked",
            " Transfer-Encoding: chunked",
            "X-A: 1\r\n folded",
            "X-A: 1\0",
            ": x",
            "no colon at all",
        ] {
            assert_eq!(ask("POST", fields, &chunks).await, ["400"], "{fields:?}");
        }
        // A chunk that is none ends the connection; at most its own request is answered.
        for body in ["fffffffffffffffff\r\nhi\r\n", "g\r\nhi\r\n", "-1\r\nhi\r\n", "2\nhi\n0\n\n"] {
            let said = ask("POST", "Transfer-Encoding: chunked", &format!("{body}{SMUGGLED}")).await;
            assert!(said.len() <= 1, "{body:?}: {said:?}");
        }
        // A body belongs to its request, whatever the method.
        for method in ["GET", "HEAD", "DELETE", "OPTIONS", "POST"] {
            let said = ask(method, &format!("Content-Length: {}", SMUGGLED.len()), SMUGGLED).await;
            assert!(said.len() <= 2, "{method}: {said:?}");
        }
        // RFC 9112 §6.3: chunks win over a length, once and only once; nothing after the last chunk is in doubt then.
        for fields in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
            format!("Content-Length: {length}"),
            format!("Content-Length: {length}\r\nContent-Length: {length}"),
        ] {
            let said = ask("POST", &fields, &chunks).await;
            assert!(said.len() <= 2, "{fields:?}: {said:?}");
        }
    }
}
