//! What the operator has switched off, and what has to happen to a body before it is converted.

use bytes::Bytes;
use convert::native::{self, Ask, Doc, Value};

use crate::error::{ApiError, Kind};
use crate::fetch;
use crate::gateway::{Gateway, Held};
use crate::settings::Settings;

/// Refuses what is switched off: to leave it out would be to answer another question.
pub(crate) fn check(settings: &Settings, doc: &Doc<'_>, ask: &Ask<'_>) -> Result<(), ApiError> {
    let own = &settings.switches;
    let off = |used: bool, what: &str, switch: &str| {
        let message = format!("{what} are switched off on this gateway ({switch}=false)");
        if used { Err(ApiError::new(Kind::Invalid, message)) } else { Ok(()) }
    };
    off(!own.tool_use.0 && uses_tools(doc, ask), "tools", "ENABLE_TOOL_USE")?;
    off(!own.vision.0 && ask.images > 0, "images", "ENABLE_VISION")?;
    off(!own.documents.0 && ask.documents > 0, "documents", "ENABLE_DOCUMENT_SUPPORT")
}

/// Whether there are tools, or calls of tools in the conversation.
fn uses_tools(doc: &Doc<'_>, ask: &Ask<'_>) -> bool {
    let is_call = |block: Value<'_>| {
        block.get("type").is_some_and(|kind| kind.is("tool_use") || kind.is("tool_result"))
    };
    let calls =
        |message: Value<'_>| message.get("content").is_some_and(|content| content.items().any(is_call));
    let messages = doc.root().get("messages");
    ask.tools > 0 || messages.is_some_and(|messages| messages.items().any(calls))
}

/// The body with everything in it that it names by URL, where it names something and the gateway may fetch it.
pub(crate) async fn embedded(
    gateway: &Gateway,
    doc: &Doc<'_>,
    ask: &Ask<'_>,
    held: &mut Held,
) -> Result<Option<Bytes>, ApiError> {
    let settings = &gateway.shared.settings;
    if ask.urls.is_empty() || !settings.fetching.fetch_urls.0 {
        return Ok(None);
    }
    let fetched = fetch::all(settings, &ask.urls, doc.text().len(), held).await?;
    let body = native::embedded(doc, &fetched)
        .map_err(|refusal| ApiError::field(&refusal.path, &refusal.message))?;
    Ok(Some(body.into()))
}

/// Refuses what is named by URL and was not fetched, where no conversion does so.
pub(crate) fn no_urls(ask: &Ask<'_>) -> Result<(), ApiError> {
    let message = "url sources are fetched only with ENABLE_IMAGE_URL_FETCH=true; send base64 instead";
    if ask.urls.is_empty() { Ok(()) } else { Err(ApiError::field("messages", message)) }
}
