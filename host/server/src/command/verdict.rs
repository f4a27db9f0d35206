//! What a verdict means to the caller.

use cairn_model::StreamKey;
use cairn_wasm::{Basis, Fault, Rejection, RejectionKind, Task, Verdict, Work};

use crate::problem::{Code, Problem};

/// A no, and whether it may leave before the log has confirmed what it rests on.
#[derive(Debug)]
pub enum Refusal {
    /// It rests on the log and must be checked.
    Checked(Problem),
    /// It rests on nothing.
    AtOnce(Problem),
}

/// The no that a verdict is. Accepted commands and states are not refusals; they end as `internal` here.
pub fn refusal<C>(work: &Work<C>, basis: &Basis, verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Rejected(rejection) => Refusal::Checked(rejected(rejection)),
        Verdict::VersionMismatch => Refusal::Checked(version_mismatch(work, basis)),
        Verdict::NotFound => Refusal::Checked(not_found(&work.stream)),
        Verdict::Exists => {
            let stream = work.stream.local();
            let problem = Problem::new(Code::Conflict, format!("{stream} exists already"));
            Refusal::Checked(problem.with_holder(stream))
        }
        Verdict::Forbidden(permission) => {
            let detail =
                format!("this needs the permission `{}` on {}", permission.name(), work.stream.local());
            Refusal::Checked(Problem::new(Code::Forbidden, detail))
        }
        Verdict::Fault(cause) => {
            tracing::error!(stream = %work.stream, fault = %cause, "the guest failed");
            Refusal::AtOnce(fault(&cause))
        }
        Verdict::Overloaded => Refusal::AtOnce(Problem::new(
            Code::Overloaded,
            "the aggregate has too much to do: its queue is full, or it changed too often while this was decided",
        )),
        Verdict::Unavailable(_) => Refusal::AtOnce(Problem::new(
            Code::StoreUnavailable,
            "the aggregate's history cannot be read now",
        )),
        Verdict::Accepted(_) | Verdict::State { .. } => {
            Refusal::AtOnce(Problem::new(Code::Internal, "an accepted command is not a refusal"))
        }
    }
}

/// There is no such aggregate, or none that the caller may know of: the same words for both.
pub fn not_found(stream: &StreamKey) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {}", stream.local()))
}

/// The key stands for another request.
pub fn key_reused() -> Problem {
    Problem::new(Code::IdempotencyKeyReused, "this Idempotency-Key was used with another command or payload")
}

/// The guest failed. The public message names the kind; the log has the rest.
pub fn fault(fault: &Fault) -> Problem {
    Problem::new(Code::PluginFault, format!("the plugin failed: {}", fault.public_message()))
}

/// A no of the domain.
pub fn rejected(rejection: Rejection) -> Problem {
    let code = match rejection.kind {
        RejectionKind::Invalid => Code::InvalidInput,
        RejectionKind::Forbidden => Code::Forbidden,
        RejectionKind::NotFound => Code::NotFound,
        RejectionKind::Conflict => Code::Conflict,
        RejectionKind::Rejected => Code::Rejected,
    };
    let problem = Problem::new(code, rejection.message).with_domain_code(rejection.code);
    rejection
        .errors
        .into_iter()
        .fold(problem, |problem, (pointer, detail)| problem.with_error(pointer, detail))
}

fn version_mismatch<C>(work: &Work<C>, basis: &Basis) -> Problem {
    let wanted = match &work.task {
        Task::Command(call) => call.if_match.unwrap_or_default(),
        Task::State => 0,
    };
    let detail =
        format!("If-Match names version {wanted}, {} has version {}", work.stream.local(), basis.version);
    Problem::new(Code::VersionMismatch, detail).with_current_version(basis.version)
}
