//! The built-in services of the exhaustive schedules, and what each receives.

use crate::codec::Framing;
use crate::service::search::{Request, Search};
use crate::service::{
    Chargen, CloseReason, Context, Delayed, Discard, Echo, Framed, Input, NeverRead, OneShot, Output, Replies, Service,
    Unframed, Wait, upper,
};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Parts in which a stream is sent.
pub(super) const PARTS: usize = 6;

/// How long the delayed service waits.
pub(super) const DELAY: Duration = Duration::from_millis(3);

/// A service under test.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) parts: Vec<Vec<u8>>,
    /// Added to the size of the buffers, for messages that do not fit a few bytes.
    pub(super) extra_bytes: usize,
    pub(super) make: Box<dyn Fn() -> Box<dyn Service>>,
    /// The answer to a stream and its end, where it is known without the service.
    pub(super) answer: Option<Model>,
    /// The service sends without end.
    pub(super) is_endless: bool,
    /// The service waits for instants.
    pub(super) has_timers: bool,
}

/// The answer to a stream.
type Model = fn(&[u8]) -> Vec<u8>;

/// Number of calls of `closed`, shared with the test.
pub(super) type Closings = Rc<Cell<usize>>;

/// Checks the calls of a service.
pub(super) struct Checked {
    service: Box<dyn Service>,
    closings: Closings,
}

impl Checked {
    pub(super) fn new(service: Box<dyn Service>) -> (Self, Closings) {
        let closings = Closings::default();
        (Self { service, closings: Rc::clone(&closings) }, closings)
    }
}

impl Service for Checked {
    fn serve(&mut self, input: &mut Input<'_>, output: &mut Output<'_>, context: &mut Context<'_>) -> Wait {
        assert_eq!(self.closings.get(), 0, "served after the end");
        self.service.serve(input, output, context)
    }

    fn closed(&mut self, reason: CloseReason) {
        self.closings.set(self.closings.get() + 1);
        assert_eq!(self.closings.get(), 1, "closed twice");
        self.service.closed(reason);
    }

    fn is_busy(&self) -> bool {
        self.service.is_busy()
    }

    fn held_bytes(&self) -> usize {
        self.service.held_bytes()
    }
}

/// Every built-in service without an upstream, and every kind of framing.
pub(super) fn cases() -> Vec<Case> {
    let text = "aÄb\nc";
    let mut cases = vec![
        case("echo", b"abcdef", || Echo).answering(<[u8]>::to_vec),
        case("delayed", b"abcdef", || Delayed::new(Echo, DELAY)).answering(<[u8]>::to_vec).timed(),
        case("discard", b"abcdef", || Discard).answering(|_| Vec::new()),
        case("never-read", b"abcdef", || NeverRead).answering(|_| Vec::new()),
        case("one-shot", b"abcdef", || OneShot::new(|| "x")).answering(|_| b"x".to_vec()),
        case("unframed", text.as_bytes(), || Unframed::new(one_upper)).answering(to_upper).with_extra(1),
        case("chargen", b"abcdef", Chargen::default).endless(),
        search().timed(),
    ];
    // The streams end with a whole frame, and have incomplete ones before.
    let framed: [(&str, &[u8]); 13] = [
        ("lines", b"a\n\nbc\n"),
        ("crlf", b"a\r\n\r\nb"),
        ("delimiter:::", b"a::::b"),
        ("fixed:1", b"abcdef"),
        ("fixed:2", b"abcdef"),
        ("digits:1", b"1a0012"),
        ("u8", b"\x01a\x00\x02bc"),
        ("u16be", b"\x00\x01a\x00\x00\x00"),
        ("u16le", b"\x01\x00a\x00\x00\x00"),
        ("u32be", b"\x00\x00\x00\x01a\x00"),
        ("u64le", b"\x01\x00\x00\x00\x00\x00"),
        ("type+u8", b"k\x01ak\x00k"),
        ("end", b"abcdef"),
    ];
    #[cfg(feature = "http")]
    cases.push(http());
    cases.extend(framed.map(|(framing, stream)| {
        let kind: Framing = framing.parse().expect("a valid framing");
        case(framing, stream, move || Framed::new(kind, 3, one_upper))
    }));
    cases
}

fn case<S: Service + 'static>(name: &str, stream: &[u8], make: impl Fn() -> S + 'static) -> Case {
    Case {
        name: name.to_owned(),
        parts: stream.chunks(stream.len().div_ceil(PARTS)).map(<[u8]>::to_vec).collect(),
        extra_bytes: 0,
        make: Box::new(move || Box::new(make())),
        answer: None,
        is_endless: false,
        has_timers: false,
    }
}

impl Case {
    fn answering(self, answer: Model) -> Self {
        Self { answer: Some(answer), ..self }
    }

    fn with_extra(self, extra_bytes: usize) -> Self {
        Self { extra_bytes, ..self }
    }

    fn endless(self) -> Self {
        Self { is_endless: true, ..self }
    }

    fn timed(self) -> Self {
        Self { has_timers: true, ..self }
    }
}

#[cfg(feature = "http")]
fn http() -> Case {
    use crate::service::{HttpRequest, HttpResponse, HttpService};

    let respond = |request: &HttpRequest<'_>, _: &mut Context<'_>| HttpResponse::text(200, request.head.path());
    let stream = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    case("http", stream, move || HttpService::new(Duration::default, respond)).with_extra(stream.len() / 2)
}

fn search() -> Case {
    let request = |word: &str| Request::Search(word.to_owned()).message(true);
    let stream = [request("ring"), request("frodo")].concat();
    case("search", &stream, || Search::new(100)).with_extra(stream.len())
}

fn one_upper(message: &[u8], replies: &mut Replies<'_>) {
    replies.send_with(|reply| upper(message, reply));
}

fn to_upper(text: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    upper(text, &mut answer);
    answer
}
