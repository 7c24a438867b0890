//! Logs, commands and attachments.

use std::time::Duration;

use vk_provider::call::Why;
use vk_provider::container_logs::Options;
use vk_provider::sessions::{Exit, Size, Stdio};
use vk_provider::testing::{self, Answer, Taken};
use vk_provider::time::Time;
use vk_provider::{Attach as _, Code, ContainerLogs as _, Exec as _};

use super::engine::Engine;
use super::{plain, pod, sandboxed, start};
use crate::Docker;

fn frame(stream: u8, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[stream, 0, 0, 0], length.as_slice(), text.as_bytes()].concat()
}

/// An engine with a container that runs.
fn running() -> Engine {
    running_on(Engine::docker())
}

fn running_on(engine: Engine) -> Engine {
    sandboxed(&engine, &plain());
    start(&plain(), "c", 0).unwrap();
    engine.asked();
    engine
}

fn logs(options: Options) -> vk_provider::Result<Vec<String>> {
    let (sink, reader) = testing::pipe(usize::MAX);
    Docker::get_container_logs(plain().id, "c".to_owned(), options, sink)?;
    Ok(reader.entries().iter().map(|entry| String::from_utf8(entry.bytes.clone()).unwrap()).collect())
}

const LINES: [&str; 2] = ["2026-11-24T10:00:00.000000001Z one\n", "2026-11-24T10:00:01Z two\n"];

#[test]
fn a_log_is_that_of_the_attempt() {
    let engine = running();
    engine.instead(
        "GET /containers/id2/logs",
        Answer::status(200).body([frame(1, LINES[0]), frame(2, LINES[1])].concat()),
    );
    let options =
        Options { attempt: Some(0), tail: Some(7), since: Some(Time::from_nanos(1_500_000_000)), ..Options::default() };
    assert_eq!(logs(options).unwrap(), ["one", "two"]);
    assert_eq!(engine.asked(), ["GET /containers/k8s_c_web_default_u_0/json", "GET /containers/id2/logs"]);
}

#[test]
fn the_last_lines_are_counted_and_the_end_is_read_anew_where_the_engine_does_not_tell_them() {
    let engine = running_on(Engine::podman());
    let time = "2026-11-24T10:00:00Z";
    let before = [
        frame(1, &format!("{time} one\n")),
        frame(1, &format!("{time} long ")),
        frame(2, &format!("{time} other\n")),
        frame(1, &format!("{time} line\n")),
        frame(1, &format!("{time} last")),
    ]
    .concat();
    let now = [before.clone(), frame(1, &format!("{time} ing\n")), frame(2, &format!("{time} later\n"))].concat();
    // What a follower was not told any more.
    let ended = [now.clone(), frame(1, &format!("{time} end\n"))].concat();
    for (tail, follow, told) in [
        (0, false, &[][..]),
        (2, false, &["other", "last", "ing"]),
        (3, false, &["long ", "other", "line", "last", "ing"]),
        (9, false, &["one", "long ", "other", "line", "last", "ing"]),
        (0, true, &["later", "end"]),
        (1, true, &["last", "ing", "later", "end"]),
    ] {
        for body in [&before, &now, &ended].into_iter().take(if follow { 3 } else { 2 }) {
            engine.instead("GET /containers/id2/logs", Answer::status(200).body(body.clone()));
        }
        let options = Options { attempt: Some(0), tail: Some(tail), follow, ..Options::default() };
        assert_eq!(logs(options).unwrap(), told, "the last {tail}, followed: {follow}");
    }
}

#[test]
fn a_followed_log_ends_with_its_reader_and_with_its_call() {
    let engine = running();
    let follow = Options { attempt: Some(0), follow: true, ..Options::default() };
    let slow =
        || Answer::status(200).body(frame(1, LINES[0])).then(Duration::from_secs(5), frame(1, LINES[1])).stays_open();
    engine.instead("GET /containers/id2/logs", slow());
    testing::cancel_after(Duration::from_secs(2), Why::Replaced);
    assert_eq!(logs(follow).unwrap(), ["one"]);
    testing::go_on();
    engine.instead("GET /containers/id2/logs", slow());
    let (sink, reader) = testing::pipe(2);
    Docker::get_container_logs(plain().id, "c".to_owned(), follow, sink).unwrap();
    assert_eq!(reader.entries().len(), 2);
}

#[test]
fn a_log_is_cut_where_the_reader_wants_no_more() {
    let engine = running();
    engine.instead(
        "GET /containers/id2/logs",
        Answer::status(200).body([frame(1, LINES[0]), frame(1, LINES[1])].concat()),
    );
    assert_eq!(logs(Options { attempt: Some(0), limit_bytes: Some(3), ..Options::default() }).unwrap(), ["one"]);
}

#[test]
fn without_an_attempt_the_present_one_or_the_one_before_is_meant() {
    let engine = running();
    engine.end("k8s_c_", 1);
    start(&plain(), "c", 1).unwrap();
    for (previous, line) in [(false, "GET /containers/id3/logs"), (true, "GET /containers/id2/logs")] {
        engine.instead(line, Answer::status(200).body(frame(1, LINES[0])));
        assert_eq!(logs(Options { previous, ..Options::default() }).unwrap(), ["one"]);
    }
}

#[test]
fn mistakes_of_readers_are_told_in_the_kubelets_words() {
    let engine = running();
    let error = logs(Options { attempt: Some(3), ..Options::default() }).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::InvalidArgument, "previous terminated container \"c\" in pod \"web\" not found")
    );
    engine.change("k8s_c_", |container| container.started = "0001-01-01T00:00:00Z".to_owned());
    let error = logs(Options { attempt: Some(0), ..Options::default() }).unwrap_err();
    assert_eq!(error.message, "container \"c\" in pod \"web\" is waiting to start: ContainerCreating");
    engine.0.borrow_mut().containers.clear();
    let error = logs(Options { attempt: Some(0), ..Options::default() }).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::NotFound, "pod \"web\" not found"));
}

/// A session's streams, and who takes its output.
fn stdio() -> (Stdio, Taken, Taken) {
    let ((stdout, out), (stderr, err)) = (testing::output(), testing::output());
    (Stdio { stdin: None, stdout: Some(stdout), stderr: Some(stderr), terminal: None }, out, err)
}

fn run(io: Stdio) -> vk_provider::Result<Exit> {
    Docker::run_in_container(plain().id, "c".to_owned(), vec!["cmd".to_owned(), "arg".to_owned()], io)
}

#[test]
fn a_commands_streams_are_told_apart_and_its_code_is_its_own() {
    let engine = running();
    let output = [frame(1, "out"), frame(2, "err"), frame(1, "put")].concat();
    engine.0.borrow_mut().commands.insert("cmd".to_owned(), (3, output));
    let (io, out, err) = stdio();
    assert_eq!(run(io), Ok(Exit::Code(3)));
    assert_eq!((out.bytes(), err.bytes()), (b"output".to_vec(), b"err".to_vec()));
    let asked = ["GET /containers/json", "POST /containers/id2/exec", "POST /exec/0/start", "GET /exec/0/json"];
    assert_eq!(engine.asked(), asked);
}

#[test]
fn input_is_carried_and_its_end_ends_nothing_but_itself() {
    let engine = running();
    let taken = Taken::default();
    let answer = Answer::status(101).takes(&taken).then(Duration::from_secs(3), frame(1, "late"));
    engine.instead("POST /exec/0/start", answer);
    let (io, out, _) = stdio();
    let (stdin, typed) = testing::input();
    typed.send("typed").end();
    assert_eq!(run(Stdio { stdin: Some(stdin), ..io }), Ok(Exit::Code(0)));
    assert_eq!((taken.bytes(), taken.is_ended(), out.bytes()), (b"typed".to_vec(), true, b"late".to_vec()));
}

#[test]
fn a_terminal_has_no_frames_and_a_size() {
    let engine = running();
    engine.instead("POST /exec/0/start", Answer::status(101).body("plain ").then(Duration::from_secs(3), "bytes"));
    let (io, out, _) = stdio();
    let size = |cols, rows| Size { cols, rows };
    let terminal = testing::resizes(&[(Duration::ZERO, size(80, 24)), (Duration::from_secs(1), size(100, 30))]);
    assert_eq!(run(Stdio { stderr: None, terminal: Some(terminal), ..io }), Ok(Exit::Code(0)));
    assert_eq!(out.bytes(), b"plain bytes");
    let sizes: Vec<String> = engine.asked().into_iter().filter(|asked| asked.contains("resize")).collect();
    assert_eq!(sizes, ["POST /exec/0/resize?80x24", "POST /exec/0/resize?100x30"]);
}

#[test]
fn a_program_that_is_not_there_is_the_callers_mistake() {
    let engine = running();
    let docker = "OCI runtime exec failed: exec failed: \"cmd\": executable file not found in $PATH: unknown\r\n";
    let podman =
        "Error: runc: exec failed: exec: \"cmd\": OCI runtime attempted to invoke a command that was not found\n";
    for (code, stream, words) in [(126, 1, docker), (127, 2, podman)] {
        engine.0.borrow_mut().commands.insert("cmd".to_owned(), (code, frame(stream, words)));
        let error = run(stdio().0).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (Code::InvalidArgument, words.trim()));
    }
    engine.0.borrow_mut().commands.insert("cmd".to_owned(), (126, frame(1, "its own")));
    assert_eq!(run(stdio().0), Ok(Exit::Code(126)), "a code of the program's own");
}

#[test]
fn a_session_ends_with_its_client() {
    let engine = running();
    engine.instead("POST /exec/0/start", Answer::status(101).stays_open());
    testing::cancel_after(Duration::from_secs(1), Why::ClientGone);
    assert_eq!(run(stdio().0).unwrap_err().code, Code::Cancelled);
}

#[test]
fn a_command_needs_a_container_that_runs() {
    let engine = running();
    engine.end("k8s_c_", 0);
    assert_eq!(run(stdio().0).unwrap_err().code, Code::FailedPrecondition);
    let other = Docker::run_in_container(plain().id, "x".to_owned(), vec!["cmd".to_owned()], stdio().0);
    assert_eq!(other.unwrap_err().code, Code::NotFound);
    engine.0.borrow_mut().containers.clear();
    assert_eq!(run(stdio().0).unwrap_err().reason, "PodNotFound");
}

#[test]
fn an_upgrade_that_is_refused_is_told_in_the_engines_words() {
    let engine = running();
    engine.instead("POST /exec/0/start", Answer::status(409).body(r#"{"message":"Container id2 is not running"}"#));
    let error = run(stdio().0).unwrap_err();
    assert_eq!(error.code, Code::Aborted);
    assert!(error.message.contains("is not running"), "{error}");
}

#[test]
fn an_attachment_is_the_containers_own_terminal_and_its_code() {
    let engine = Engine::docker();
    let web = pod(r#"{"containers":[{"name":"c","image":"busybox:1","tty":true}]}"#);
    sandboxed(&engine, &web);
    start(&web, "c", 0).unwrap();
    let attach = |io| Docker::attach_to_container(web.id.clone(), "c".to_owned(), io);
    let (io, out, _) = stdio();
    engine.instead("POST /containers/id2/attach", Answer::status(101).body("hello"));
    assert_eq!(attach(io), Ok(Exit::Unknown), "the connection ended, and the container did not");
    assert_eq!(out.bytes(), b"hello");
    let (io, _, _) = stdio();
    let ending = engine.clone();
    engine.instead("POST /containers/id2/attach", Answer::status(101).then(Duration::from_secs(2), "bye"));
    testing::after(Duration::from_secs(1), move || ending.end("k8s_c_", 5));
    assert_eq!(attach(io), Ok(Exit::Code(5)));
}
