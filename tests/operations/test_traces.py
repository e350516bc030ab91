"""Traces, as a collector receives them: read by the message types that OpenTelemetry publishes."""

import base64
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from conftest import PATIENCE

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    def __init__(self):
        self.spans = queue.Queue()
        self.texts = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.take(self.path, self.headers["content-type"], body)
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, content_type, body):
        assert (path, content_type) == ("/v1/traces", "application/json")
        self.texts.append(body.decode())
        document = json.loads(body)
        # The one place where OTLP's JSON differs from protobuf's: ids are hexadecimal.
        for resource in document["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        request = json_format.ParseDict(document, ExportTraceServiceRequest())
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert names["service.name"] == "gatehouse"
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put(span)

    def span(self):
        return self.spans.get(timeout=PATIENCE)


def attributes(span):
    kinds = lambda value: getattr(value, value.WhichOneof("value"))
    return {each.key: kinds(each.value) for each in span.attributes}


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def start(installation, collector, more="", top=""):
    installation.configure(f'[traces]\notlp = "{collector.url}"\n{more}\n', top=top)
    installation.run("instance", "create", "erp")
    return installation.serve()


def test_a_request_is_a_span_that_says_what_happened_and_not_to_whom(installation, collector):
    server = start(installation, collector)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "Authorization": "Bearer secret-token"}
    answer = requests.get(f"{server.url}/api/domain/odata/Crm_Customers?$filter=secret", headers=headers, timeout=PATIENCE)
    span = collector.span()
    assert span.name == "GET api" and span.kind == Span.SPAN_KIND_SERVER
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "api",
        "http.response.status_code": 401,
        "gatehouse.instance": "erp",
        "gatehouse.request_id": answer.headers["x-request-id"],
    }
    assert span.trace_id.hex() != TRACE and span.parent_span_id == b"", "nobody trusted said so"
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    assert span.status.code == Status.STATUS_CODE_UNSET, "a refusal is an answer"
    server.stop()
    assert not any("secret" in text or "Crm_Customers" in text for text in collector.texts)


def test_a_trusted_proxy_says_which_trace_it_is_and_whether_to_sample(installation, collector):
    server = start(installation, collector, more="sample = 0", top='trusted_proxies = ["127.0.0.1"]')
    for traceparent in [None, f"00-{TRACE}-{PARENT}-00", "nonsense", f"00-{TRACE}-{PARENT}-01"]:
        headers = {"traceparent": traceparent} if traceparent else {}
        requests.get(f"{server.url}/tools/ver", headers=headers, timeout=PATIENCE)
    span = collector.span()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    server.stop()
    assert collector.spans.empty(), "only the one that the proxy sampled"


def test_a_collector_that_is_away_is_told_of_once_and_holds_nobody_up(installation, collector):
    collector.server.shutdown()
    collector.server.server_close()
    server = start(installation, collector)
    for _ in range(20):
        assert requests.get(f"{server.url}/tools/ver", timeout=PATIENCE).status_code == 200
    server.logged("traces are not exported")
    server.stop()
