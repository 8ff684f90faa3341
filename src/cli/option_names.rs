//! Options in error texts: the library names its settings and causes, and the programs add the options.

use crate::error::Error;
use crate::results::RunResults;

/// Prefix of the causes of datagrams that the system refused to send.
const NOT_SENT: &str = "not_sent_";

/// The options of the library's settings, by the names in [`Error::Config`].
const OPTIONS: [(&str, &str); 52] = [
    ("Expect::ReadOnly", "--messages 0"),
    ("buffer_bytes", "--buffer-limit"),
    ("connect_rate", "--connect-rate"),
    ("connect_timeout", "--connect-timeout"),
    ("connections", "--connections"),
    ("datagrams.groups", "--multicast"),
    ("datagrams.listen", "HOST PORT"),
    ("datagrams.rate_limit", "--udp-rate-limit"),
    ("expect", "--expect"),
    ("expected_text", "--expect-text"),
    ("framing", "--frame"),
    ("handover_timeout", "--hand-over-timeout"),
    ("hold", "--hold"),
    ("limits.buffer_bytes", "--buffer-limit"),
    ("listen", "HOST PORT"),
    ("load.arrivals", "--arrivals"),
    ("load.duration", "--duration"),
    ("load.ramp_to", "--rate FROM..TO"),
    ("load.rate", "--rate"),
    ("load.reconnect_every", "--reconnect-every"),
    ("load.start_at", "--start-at"),
    ("load.warm_up", "--warm-up"),
    ("max_connecting", "--max-connecting"),
    ("max_connections", "--max-connections"),
    ("max_per_address", "--max-per-address"),
    ("memory_limit", "--memory-limit"),
    ("messages", "--message or --message-file"),
    ("messages_per_connection", "--messages"),
    ("metrics", "--metrics"),
    ("pipeline", "--pipeline"),
    ("proxy_from", "--proxy-from"),
    ("proxy_protocol", "--proxy-protocol"),
    ("reply_size", "--reply-size"),
    ("reply_timeout", "--reply-timeout"),
    ("requests", "--search, --binary or ACTION VALUE"),
    ("search.budget", "--find-budget"),
    ("search.from", "--rate FROM..TO"),
    ("search.objectives", "--find-max"),
    ("search.width", "--find-width"),
    ("shard", "--shard"),
    ("size", "--size"),
    ("socket.keepalive", "--keepalive"),
    ("sources", "--source"),
    ("spin", "--spin"),
    ("stop_if", "--stop-if"),
    ("targets", "HOST PORT"),
    ("tls", "the options for TLS, of a client --tls"),
    ("tls.ca", "--tls-ca"),
    ("tls.identity", "--tls-cert and --tls-key"),
    ("tls.server_name", "--server-name"),
    ("udp", "--udp"),
    ("workers", "--workers"),
];

/// Options that avoid a failure, by the name of its cause in results.
const ADVICE: [(&str, &str); 8] = [
    ("closed_after_reply", "--messages 1 sends one message per connection"),
    ("needs_broadcast", "--broadcast allows broadcast addresses"),
    ("no_group_route", "--multicast-interface sets the interface of groups"),
    ("out_of_ports", "--source adds source addresses"),
    ("tls_alert_112", "--server-name sets the server name"),
    ("tls_alert_116", "--tls-cert and --tls-key set the client certificate"),
    ("tls_unknown_issuer", "--tls-ca trusts a CA; --tls-insecure trusts every server, for a test"),
    ("tls_wrong_name", "--server-name sets the server name"),
];

/// The option that avoids failures of this cause, and what it does.
pub(super) fn advice(cause: &str) -> Option<&'static str> {
    let name = cause.strip_prefix(NOT_SENT).unwrap_or(cause);
    ADVICE.iter().find(|(known, _)| *known == name).map(|(_, advice)| *advice)
}

/// The options that make a late client more punctual.
pub(super) fn remedies(results: &RunResults) -> Option<String> {
    let remedies = if results.has_late_client() { results.remedies() } else { Vec::new() };
    let options: Vec<_> = remedies.iter().filter_map(|remedy| remedy.setting()).map(option).collect();
    (!options.is_empty()).then(|| format!("{} for a more punctual client", options.join(", ")))
}

/// The text of an error, with options in place of the library's settings.
pub(super) fn in_words(error: &Error) -> String {
    let Error::Config { settings, problem } = error else { return error.to_string() };
    let options: Vec<&str> = settings.iter().map(|setting| option(setting)).collect();
    format!("{problem} ({})", options.join(", "))
}

/// The option of a setting. A setting without an option keeps its name.
fn option(setting: &str) -> &str {
    OPTIONS.iter().find(|(known, _)| *known == setting).map_or(setting, |(_, option)| option)
}

#[cfg(test)]
mod tests {
    use super::{ADVICE, OPTIONS, in_words};
    use crate::cli::{client, server};
    use crate::error::{Error, cause_in_words};

    #[test]
    fn named_options_exist() {
        let commands = [client::command(), server::command()];
        let known: Vec<_> =
            commands.iter().flat_map(|command| command.get_arguments().filter_map(|arg| arg.get_long())).collect();
        let texts = OPTIONS.iter().map(|(_, option)| option).chain(ADVICE.iter().map(|(_, advice)| advice));
        for text in texts {
            let words = text.split([' ', ',']).filter_map(|word| word.strip_prefix("--"));
            words.for_each(|option| assert!(known.contains(&option), "--{option}"));
        }
    }

    #[test]
    fn causes_with_advice_exist() {
        for (cause, _) in ADVICE {
            assert_ne!(cause_in_words(cause), cause.replace('_', " "));
        }
    }

    #[test]
    fn settings_are_named_as_options() {
        let error = Error::config(&["hold", "load.rate"], "only one of the two");
        assert_eq!(in_words(&error), "only one of the two (--hold, --rate)");
        assert_eq!(error.to_string(), "only one of the two (hold, load.rate)");
    }
}
