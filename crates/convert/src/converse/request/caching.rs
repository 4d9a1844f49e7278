//! Cache markers become cache points.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html>

use protocol::anthropic::request::{Block, CacheControl, Content, Request, System};
use protocol::converse::request::CachePoint;

use super::context::{At, Context};
use super::turn::Conversation;
use super::{Options, Ttl};
use crate::Refusal;
use crate::outcome::reason;

/// Most markers that a request may have.
const MOST: usize = 4;

/// Refuses what no model takes: too many markers, or a TTL that does not exist.
pub(super) fn check(request: &Request<'_>, options: &Options) -> Result<(), Refusal> {
    if !options.prompt_caching {
        return Ok(());
    }
    let mut found = 0;
    visit(request, &mut |marker| {
        found += 1;
        match marker.ttl.as_deref() {
            None | Some("5m" | "1h") => Ok(()),
            Some(_) => Err(At::root("cache_control").key("ttl").refuse("Input should be '5m' or '1h'")),
        }
    })?;
    if found > MOST {
        let message =
            format!("A maximum of {MOST} blocks with cache_control may be provided. Found {found}.");
        return Err(Refusal { path: String::new(), message });
    }
    Ok(())
}

type Visitor<'v> = dyn FnMut(&CacheControl<'_>) -> Result<(), Refusal> + 'v;

fn visit(request: &Request<'_>, each: &mut Visitor<'_>) -> Result<(), Refusal> {
    request.cache_control.iter().try_for_each(&mut *each)?;
    for tool in request.tools.iter().flatten() {
        tool.cache_control().into_iter().try_for_each(&mut *each)?;
    }
    if let Some(System::Blocks(blocks)) = &request.system {
        blocks.iter().filter_map(|block| block.cache_control.as_ref()).try_for_each(&mut *each)?;
    }
    request.messages.iter().try_for_each(|message| visit_content(&message.content, each))
}

fn visit_content(content: &Content<'_>, each: &mut Visitor<'_>) -> Result<(), Refusal> {
    let Content::Blocks(blocks) = content else { return Ok(()) };
    for block in blocks {
        block.cache_control().into_iter().try_for_each(&mut *each)?;
        if let Block::ToolResult(result) = block {
            visit_content(&result.content, each)?;
        }
    }
    Ok(())
}

/// The cache point that the marker at a place asks for, if this model can have one.
pub(super) fn point(
    ctx: &mut Context<'_>,
    at: At<'_>,
    marker: Option<&CacheControl<'_>>,
) -> Option<CachePoint> {
    let marker = marker?;
    if !ctx.options.prompt_caching {
        ctx.lose(at, reason::CACHING_OFF);
        return None;
    }
    let Some(caching) = ctx.rules.caching else {
        ctx.lose(at, reason::NOT_CACHED);
        return None;
    };
    ctx.lose_extra(at, &marker.extra);
    let mut ttl = ttl(ctx, marker);
    if ttl == Ttl::OneHour && caching.no_1h {
        ctx.lose(at.key("ttl"), reason::NOT_TAKEN);
        ttl = Ttl::FiveMinutes;
    }
    ctx.placed_5m |= ttl == Ttl::FiveMinutes;
    ctx.cache_ttl = Ttl::longest(ctx.cache_ttl.into_iter().chain([ttl]));
    // Five minutes is what no `ttl` means, and models without one-hour caching may refuse the member.
    Some(CachePoint { kind: "default", ttl: (ttl == Ttl::OneHour).then_some("1h") })
}

fn ttl(ctx: &Context<'_>, marker: &CacheControl<'_>) -> Ttl {
    let asked = match marker.ttl.as_deref() {
        Some("1h") => Some(Ttl::OneHour),
        Some(_) => Some(Ttl::FiveMinutes),
        None => None,
    };
    // Points of one hour must stand before those of five minutes: a default may not break that.
    let default = ctx.options.default_cache_ttl.filter(|_| !ctx.placed_5m);
    ctx.options.cache_ttl.or(asked).or(default).unwrap_or(Ttl::FiveMinutes)
}

/// The marker of the request as a whole: it stands after the last block that can carry one.
pub(super) fn mark_end<'a>(
    ctx: &mut Context<'a>,
    request: &'a Request<'_>,
    conversation: &mut Conversation<'a>,
) {
    if request.cache_control.is_none() {
        return;
    }
    let Some(point) = point(ctx, At::root("cache_control"), request.cache_control.as_ref()) else { return };
    let last = conversation.turns.iter_mut().rev().flat_map(|turn| turn.pieces.iter_mut().rev());
    if let Some(piece) = last.into_iter().find(|piece| piece.can_be_marked()) {
        piece.marker.get_or_insert(point);
    }
}
