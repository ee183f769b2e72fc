//! Parts of objects with paths of their own. Those that show the object itself (`status`, ...) go the
//! way of the whole object; the others have a file here.

pub(crate) mod binding;
mod eviction;
pub(crate) mod node;
mod scale;
mod token;

use skep_api::status::Status;

use crate::answer::Answer;
use crate::call::Call;
use crate::request::Verb;
use crate::server::not_allowed;
use crate::verbs;

pub(crate) async fn answer(call: Call) -> Answer {
    let name = call.subresource().unwrap_or_default();
    let known = call.resource.subresource(name).ok_or_else(Status::no_such_path)?;
    let verb = call.path.verb;
    if !known.verbs.iter().any(|allowed| allowed == verb.as_str()) && !connects(name) {
        return Err(not_allowed(call.resource, verb));
    }
    match name {
        "log" | "exec" | "attach" | "portforward" | "proxy" => node::connect(call).await,
        "scale" => scale::answer(&call).await,
        "binding" => binding::bind(&call).await,
        "eviction" => eviction::evict(&call).await,
        "token" => token::create(&call).await,
        _ => match verb {
            Verb::Get => verbs::get::get(&call).await,
            Verb::Update => verbs::update::update(&call).await,
            Verb::Patch => verbs::patch::patch(&call).await,
            _ => Err(not_allowed(call.resource, verb)),
        },
    }
}

/// Paths whose requests are passed on, whatever their method.
fn connects(name: &str) -> bool {
    matches!(name, "proxy" | "exec" | "attach" | "portforward")
}
