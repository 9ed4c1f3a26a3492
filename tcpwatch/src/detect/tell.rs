//! What detectors share: who it is, in which namespace, since when, and how to say so.

use std::sync::Arc;
use std::time::Duration;

use tcpwatch_common::TcpState;
use tcpwatch_common::socket::KERNEL_PID;

use crate::model::{Window, states};
use crate::process::Process;
use crate::sample::{Group, ListenerSample, NamespaceSample, Sample, Survey};

/// How earlier surveys are looked for.
const SURVEY_STEP: Duration = Duration::from_secs(5);
const RECENT_SURVEYS: u32 = 8;

/// What is known of a process: its number at least.
pub(super) fn process(sample: &Sample, pid: Option<u32>) -> Option<Arc<Process>> {
    let pid = pid?;
    let known = sample.processes.get(&pid).map(Arc::clone);
    Some(known.unwrap_or_else(|| Arc::new(Process { pid, ..Process::default() })))
}

/// The process, or that it is not known.
pub(super) fn who(owner: Option<&Process>) -> String {
    owner.map_or_else(|| String::from("an unknown process"), ToString::to_string)
}

/// The same where the sentence is about what it should do.
pub(super) fn whom(owner: Option<&Process>) -> String {
    owner.map_or_else(|| String::from("the application"), ToString::to_string)
}

/// The listener of a service, if there is one.
pub(super) fn listener(sample: &Sample, netns: u64, port: u16) -> Option<&ListenerSample> {
    let is_it = |listener: &&ListenerSample| listener.netns == netns && listener.local.port() == port;
    sample.listeners.iter().find(is_it)
}

/// A command for a shell, inside the network namespace that it is about.
pub(super) fn inside(
    sample: &Sample,
    namespace: &NamespaceSample,
    pid: Option<u32>,
    command: &str,
) -> String {
    if namespace.is_own {
        return command.into();
    }
    // The kernel has no number to enter by.
    let lives =
        |pid: &u32| *pid != KERNEL_PID && sample.processes.get(pid).is_none_or(|process| !process.exited);
    let in_there = || {
        let of_it = |listener: &&ListenerSample| listener.netns == namespace.inode;
        sample.listeners.iter().filter(of_it).filter_map(|listener| listener.pid).find(lives)
    };
    match (pid.filter(lives).or_else(in_there), &namespace.name) {
        (Some(pid), _) => format!("nsenter -t {pid} -n {command}"),
        (None, Some(name)) => format!("ip netns exec {name} {command}"),
        (None, None) => format!("{command}   # inside the network namespace {}", namespace.inode),
    }
}

/// The sum of what groups count.
pub(super) fn sum<'a>(groups: impl IntoIterator<Item = &'a Group>, of: impl Fn(&Group) -> u64) -> u64 {
    groups.into_iter().map(of).sum()
}

/// Sockets in a state now, by the exact counts: a survey can be older. What is not known could be many.
pub(super) fn count_now(namespace: &NamespaceSample, state: TcpState) -> u64 {
    states::of(namespace).counts[state.index()].unwrap_or(u64::MAX)
}

/// The longest of their times.
pub(super) fn oldest<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Duration {
    groups.into_iter().map(|group| group.oldest).max().unwrap_or_default()
}

/// The group of which something is the most.
pub(super) fn largest<'a>(groups: &[&'a Group], of: impl Fn(&Group) -> u64) -> Option<&'a Group> {
    groups.iter().copied().max_by_key(|group| of(group))
}

/// The same namespace in an earlier sample. Its generation is 0 until the first event in it.
pub(super) fn same<'a>(earlier: &'a Sample, namespace: &NamespaceSample) -> Option<&'a NamespaceSample> {
    earlier
        .namespaces
        .iter()
        .find(|one| one.inode == namespace.inode && [0, namespace.generation].contains(&one.generation))
}

/// The oldest survey of the same namespace in the last minute that is at least `apart` older than the latest.
pub(super) fn oldest_survey<'a>(
    window: &'a Window,
    namespace: &NamespaceSample,
    apart: Duration,
) -> Option<&'a Survey> {
    let now = namespace.survey.as_ref()?;
    let sample = window.within(Duration::from_mins(1))?;
    let then = same(sample, namespace)?.survey.as_deref()?;
    (now.elapsed.saturating_sub(then.elapsed) >= apart).then_some(then)
}

/// The youngest survey of the same namespace that is at least `apart` older than the latest, and not much older.
pub(super) fn earlier_survey<'a>(
    window: &'a Window,
    namespace: &NamespaceSample,
    apart: Duration,
) -> Option<&'a Survey> {
    let now = namespace.survey.as_ref()?;
    let age = |survey: &Survey| now.elapsed.saturating_sub(survey.elapsed);
    // A sample has the survey that was the latest then, which may be younger than it seems.
    (0..RECENT_SURVEYS)
        .filter_map(|step| same(window.ago(apart + SURVEY_STEP * step)?, namespace)?.survey.as_deref())
        .find(|survey| age(survey) >= apart)
}

/// By how much a counter has grown since an earlier sample. It counts from the start of the programs or of the
/// namespace, so one that was not there yet was 0.
pub(super) fn growth(now: u64, then: Option<u64>) -> u64 {
    now.saturating_sub(then.unwrap_or(0))
}

/// As people and `ss` write it.
pub(super) fn state_name(state: TcpState) -> String {
    state.name().to_uppercase()
}

/// A state in the filter language of `ss`.
pub(super) fn ss_state(state: TcpState) -> &'static str {
    match state {
        TcpState::FinWait1 => "fin-wait-1",
        TcpState::FinWait2 => "fin-wait-2",
        TcpState::LastAck => "last-ack",
        TcpState::CloseWait => "close-wait",
        TcpState::TimeWait => "time-wait",
        other => other.name(),
    }
}

/// `45 s`, `12 min` or `3.5 h`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        _ => format!("{:.1} h", time.as_secs_f64() / 3600.0),
    }
}

/// `1 socket`, `2 sockets`.
pub(super) fn sockets(count: u64) -> String {
    if count == 1 { String::from("1 socket") } else { format!("{count} sockets") }
}

/// A part of a whole; 0 of nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

/// `83 %`
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "shares and rates need no more than 53 bits")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::testing::{PID, process as named};
    use crate::model::testing::{listener_at, sample_at};
    use crate::process::{Container, Pod};

    #[test]
    fn commands_run_where_the_sockets_are() {
        let mut sample = sample_at(1.0, 7);
        let there = |sample: &Sample, pid| inside(sample, &sample.namespaces[0], pid, "ss -tan");
        assert_eq!(there(&sample, None), "ss -tan   # inside the network namespace 7");
        assert_eq!(there(&sample, Some(5)), "nsenter -t 5 -n ss -tan");
        sample.namespaces[0].name = Some("blue".into());
        assert_eq!(there(&sample, None), "ip netns exec blue ss -tan");
        let mut gone = named("old");
        gone.exited = true;
        sample.processes.insert(PID, Arc::new(gone));
        assert_eq!(there(&sample, Some(PID)), "ip netns exec blue ss -tan", "it has ended");
        sample.listeners.push(ListenerSample { pid: Some(9), ..listener_at(7, 80) });
        assert_eq!(there(&sample, None), "nsenter -t 9 -n ss -tan");
        sample.namespaces[0].is_own = true;
        assert_eq!(there(&sample, Some(5)), "ss -tan");
    }

    #[test]
    fn numbers_are_for_people() {
        let seconds = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([seconds(0), seconds(119), seconds(120)], ["0 s", "119 s", "2 min"]);
        assert_eq!([seconds(7_199), seconds(9_000)], ["119 min", "2.5 h"]);
        assert_eq!([sockets(1), sockets(2)], ["1 socket", "2 sockets"]);
        assert!(share(1, 0).abs() < f64::EPSILON);
        assert_eq!(percent(share(5, 6)), "83 %");
    }

    #[test]
    fn processes_are_named_as_far_as_they_are_known() {
        let stranger = process(&sample_at(1.0, 7), Some(5));
        assert_eq!(who(stranger.as_deref()), "the process 5", "nothing else is known");
        assert_eq!(process(&sample_at(1.0, 7), None), None);
        assert_eq!([who(None), whom(None)], ["an unknown process", "the application"]);
        assert_eq!(whom(Some(&named("web"))), "web (pid 4711)");
        assert_eq!(who(Some(&named("web"))), "web (pid 4711)");
        assert_eq!(who(Some(&Process { command: None, ..named("") })), "the process 4711");
        let ended = |process| Process { exited: true, ..process };
        assert_eq!(who(Some(&ended(named("web")))), "web (pid 4711, which has ended)");
        let mut in_pod = named("web");
        let mut pod = Pod { uid: "a-b".into(), ..Pod::default() };
        in_pod.container = Some(Container { pod: Some(pod.clone()), ..Container::default() });
        assert_eq!(who(Some(&in_pod)), "web (pid 4711)", "nobody knows what the pod is called");
        (pod.namespace, pod.name) = (Some("shop".into()), Some("web-7d9f-abcde".into()));
        in_pod.container = Some(Container { pod: Some(pod), ..Container::default() });
        assert_eq!(who(Some(&in_pod)), "web (pid 4711) in pod shop/web-7d9f-abcde");
        let gone = "web (pid 4711, which has ended) in pod shop/web-7d9f-abcde";
        assert_eq!(whom(Some(&ended(in_pod))), gone);
        let unnamed = Process { command: None, ..named("") };
        assert_eq!(who(Some(&ended(unnamed))), "the process 4711 (which has ended)");
    }
}
