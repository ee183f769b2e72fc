//! Is the runtime ready to run pods?

use skep_cri::Runtime;
use skep_cri::v1::RuntimeCondition;

/// Ready, or why not.
pub(super) type Readiness = Result<(), String>;

pub(super) async fn ask(runtime: &Runtime) -> Readiness {
    let answer =
        runtime.status().await.map_err(|error| format!("[container runtime is down: {error}]"))?;
    let status = answer.status.unwrap_or_default();
    judge(&status.conditions)
}

fn judge(conditions: &[RuntimeCondition]) -> Readiness {
    let check = |kind: &str, text: &str| match conditions.iter().find(|c| c.r#type == kind) {
        Some(condition) if condition.status => None,
        Some(condition) => Some(format!(
            "container runtime {text}not ready: {kind}=false reason:{} message:{}",
            condition.reason, condition.message
        )),
        None => Some(format!("container runtime {text}not ready: {kind} is missing")),
    };
    let problems = [check("RuntimeReady", ""), check("NetworkReady", "network ")];
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, status: bool) -> RuntimeCondition {
        RuntimeCondition { r#type: kind.into(), status, reason: "R".into(), message: "m".into() }
    }

    #[test]
    fn both_must_hold() {
        let ready = condition("RuntimeReady", true);
        assert_eq!(judge(&[ready.clone(), condition("NetworkReady", true)]), Ok(()));
        assert_eq!(
            judge(&[ready, condition("NetworkReady", false)]).unwrap_err(),
            "container runtime network not ready: NetworkReady=false reason:R message:m"
        );
        assert!(judge(&[]).is_err());
    }
}
