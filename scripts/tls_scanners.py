"""Scanners of TLS servers. Each looks for other faults, and has its own TLS implementation. See scripts/conformance."""

import json
import os
import re
import subprocess
import xml.etree.ElementTree

from checks import expect_equal
from processes import PATIENCE, Failed

VERSIONS = {"TLSv1.2", "TLSv1.3"}
# In the names of OpenSSL and of the RFCs.
CIPHERS = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256": "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384": "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256": "TLS_CHACHA20_POLY1305_SHA256",
}
GROUPS = {"secp256r1", "secp384r1", "x25519"}

# What gnutls-cli-debug has to say; other lines are not compared.
GNUTLS_ANSWERS = {
    "whether %ALLOW_SMALL_RECORDS is required": "no",
    "whether we need to disable TLS 1.2": "no",
    "whether %NO_EXTENSIONS is required": "no",
    "for TLS 1.0 (RFC2246) support": "no",
    "for TLS 1.1 (RFC4346) support": "no",
    "for TLS 1.2 (RFC5246) support": "yes",
    "for TLS 1.3 (RFC8446) support": "yes",
    "TLS1.2 neg fallback from TLS 1.6 to": "TLS1.2",
    "for safe renegotiation (RFC5746) support": "yes",
    "for ext master secret (RFC7627) support": "yes",
    "for heartbeat (RFC6520) support": "no",
    "whether small records (512 bytes) are tolerated on handshake": "yes",
    "whether cipher suites not in SSL 3.0 spec are accepted": "yes",
    "whether a bogus TLS record version in the client hello is accepted": "yes",
    "whether the server understands TLS closure alerts": "yes",
    "whether the server supports session resumption": "yes",
    "for anonymous authentication support": "no",
    "for RSA key exchange support": "no",
    "for ephemeral EC Diffie-Hellman support": "yes",
    "for AES-GCM cipher (RFC5288) support": "yes",
    "for AES-CBC cipher (RFC3268) support": "no",
    "for CHACHA20-POLY1305 cipher (RFC7905) support": "yes",
    "for 3DES-CBC cipher (RFC2246) support": "no",
    "for ARCFOUR 128 cipher (RFC2246) support": "no",
}


def make_certificates(folder):
    """A CA, and a certificate of it for localhost. Returns the options of the server."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"]
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    usage = "extendedKeyUsage=serverAuth,clientAuth"
    new = ["openssl", "req", "-x509", *key]
    run([*new, "-subj", "/CN=test CA", "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem",
         "-addext", "keyUsage=critical,keyCertSign"])
    run([*new, "-subj", "/CN=localhost", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
         "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-addext", "basicConstraints=critical,CA:FALSE",
         "-addext", names, "-addext", usage, "-addext", "keyUsage=critical,digitalSignature"])
    return ["--tls-cert", f"{folder}/cert.pem", "--tls-key", f"{folder}/key.pem"]


def run(command, statuses=(0,), seconds=3 * PATIENCE, **options):
    """Runs it to its end. Returns what it writes."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, **options)
    if done.returncode not in statuses:
        raise Failed(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def sslscan(server, folder):
    path = f"{folder}/sslscan.xml"
    run(["sslscan", f"--xml={path}", server.address])
    test = xml.etree.ElementTree.parse(path).getroot().find("ssltest")

    def found(kind):
        return list(test.iter(kind))
    versions = {f"{each.get('type').upper()}v{each.get('version')}" for each in found("protocol")
                if each.get("enabled") == "1"}
    expect_equal([
        ("versions", versions, VERSIONS),
        ("cipher suites", {each.get("cipher") for each in found("cipher")}, set(CIPHERS)),
        ("groups", {each.get("name").split(" ")[0] for each in found("group")}, GROUPS),
        ("renegotiation", [each.get("supported") for each in found("renegotiation")], ["0"]),
        ("heartbleed", {each.get("vulnerable") for each in found("heartbleed")}, {"0"}),
    ])
    return f"{len(found('cipher'))} cipher suites, {len(found('group'))} groups"


def gnutls(server, _):
    host, port = server.address.rsplit(":", 1)
    output = run(["gnutls-cli-debug", "--port", port, host])
    answers = dict(re.findall(r"^ *(.+?)\.\.\. (.+)$", output, re.MULTILINE))
    expect_equal([(question, answers.get(question), answer) for question, answer in GNUTLS_ANSWERS.items()], output)
    return f"{len(answers)} answers, {len(GNUTLS_ANSWERS)} of them compared"


def sslyze(server, folder):
    """Its checks, and the rules of Mozilla's "intermediate" configuration."""
    path = f"{folder}/sslyze.json"
    host = f"localhost:{server.address.rsplit(':', 1)[1]}"
    output = run(["sslyze", "--json_out", path, "--mozilla_config", "intermediate", "--resum", "--resum_attempts", "5",
                  "--ems", "--early_data", "--fallback", "--certinfo_ca_file", f"{folder}/ca.pem", host], (0, 1))
    with open(path) as file:
        scan = json.load(file)["server_scan_results"][0]["scan_result"]
    unfinished = {name: each["status"] for name, each in scan.items()
                  if name != "http_headers" and each["status"] != "COMPLETED"}
    results = {name: each["result"] for name, each in scan.items()}

    def accepted(version):
        return {each["cipher_suite"]["name"] for each in results[f"{version}_cipher_suites"]["accepted_cipher_suites"]}
    later = {name for name in CIPHERS.values() if "WITH" not in name}
    renegotiation, resumption = results["session_renegotiation"], results["session_resumption"]
    expect_equal([
        ("unfinished", unfinished, {}),
        ("old versions", [accepted(each) for each in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")], [set()] * 4),
        ("TLS 1.2", accepted("tls_1_2"), set(CIPHERS.values()) - later),
        ("TLS 1.3", accepted("tls_1_3"), later),
        ("compression", results["tls_compression"]["supports_compression"], False),
        ("early data", results["tls_1_3_early_data"]["supports_early_data"], False),
        ("CCS injection", results["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"], False),
        ("heartbleed", results["heartbleed"]["is_vulnerable_to_heartbleed"], False),
        ("ROBOT", results["robot"]["robot_result"], "NOT_VULNERABLE_RSA_NOT_SUPPORTED"),
        ("secure renegotiation", renegotiation["supports_secure_renegotiation"], True),
        ("renegotiations", renegotiation["client_renegotiations_success_count"], 0),
        # It does not notice resumption with tickets: each resumed session gets a new ticket.
        ("sessions resumed by their id", resumption["session_id_successful_resumptions_count"], 5),
        ("extended master secret", results["tls_extended_master_secret"]["supports_ems_extension"], True),
        ("Mozilla's rules", f"{host}: OK - Compliant" in output, True),
    ], output[-1500:])
    return f"{len(results) - 1} checks, and Mozilla's intermediate configuration"


def testssl(server, folder):
    """Versions, faults of servers that are known, renegotiation, compression, and fallback."""
    path = f"{folder}/testssl.json"
    run(["testssl", "--quiet", "--warnings", "off", "--color", "0", "--ip", "one", "--nodns", "min", "--assume-http",
         "--protocols", "--grease", "--renegotiation", "--compression", "--tls-fallback", "--jsonfile", path,
         server.address], range(256), env={**os.environ, "LC_ALL": "C"})
    with open(path) as file:
        findings = json.load(file)
    severities = {}
    for finding in findings:
        severities.setdefault(finding["severity"], []).append(f"{finding['id']}: {finding['finding']}")
    bad = {severity: found for severity, found in severities.items() if severity not in ("OK", "INFO", "DEBUG")}
    # What the openssl program here lacks.
    bad["WARN"] = [each for each in bad.get("WARN", []) if not each.startswith("engine_problem:")]
    by_id = {finding["id"]: finding["finding"] for finding in findings}
    expect_equal([
        ("findings", {severity: found for severity, found in bad.items() if found}, {}),
        ("TLS 1.3", by_id.get("TLS1_3"), "offered with final"),
        ("TLS 1.2", by_id.get("TLS1_2"), "offered"),
        ("faults of servers", by_id.get("GREASE"), "No bugs found."),
        ("renegotiation", by_id.get("secure_client_renego"), "not vulnerable"),
    ])
    return f"{len(findings)} findings, none of them bad"
