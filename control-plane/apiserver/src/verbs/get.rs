//! Reading one object.

use http::StatusCode;

use crate::answer::Answer;
use crate::call::Call;

pub(crate) async fn get(call: &Call) -> Answer {
    let found = call.objects()?.find(call.namespace(), call.name()).await?;
    call.answer(StatusCode::OK, &found.object)
}
