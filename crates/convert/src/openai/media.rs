//! Images and files, by URL or in data URLs.

use std::borrow::Cow;

use protocol::anthropic::request::{
    Base64Source, Block, DocumentBlock, DocumentSource, ImageBlock, ImageSource, TextSource, UrlSource,
};
use protocol::raw::Extra;

use super::refusal;
use crate::Refusal;
use crate::converse::request::image::{essence, format, head};

/// Why an id of an uploaded file means nothing here.
const NO_FILES: &str =
    "uploaded files are not supported by this gateway; send the content as a data URL in `file_data`";

/// A `data:` URL, taken apart: <https://www.rfc-editor.org/rfc/rfc2397>.
struct DataUrl<'a> {
    /// Without its parameters, in lower case.
    media_type: String,
    /// In base64.
    data: &'a str,
}

/// The image behind a URL. `at` is the place of the URL.
pub(crate) fn image<'r>(at: &str, url: &'r str) -> Result<Block<'r>, Refusal> {
    if is_web(url) {
        return Ok(image_block(ImageSource::Url(UrlSource { url: url.into(), extra: Extra::default() })));
    }
    let Some(found) = data_url(at, url)? else {
        return Err(refusal(at, "Input should be an http(s) URL or a data URL in base64"));
    };
    if found.media_type == "application/pdf" {
        return Ok(document(None, base64_document(found.media_type.into(), found.data)));
    }
    base64_image(at, &found.media_type, found.data)
}

/// The document or image in a file. `at` is the place of the file's members.
pub(crate) fn file<'r>(
    at: &str,
    data: Option<&'r str>,
    id: Option<&str>,
    name: Option<&'r str>,
) -> Result<Block<'r>, Refusal> {
    let Some(data) = data else {
        return Err(match id {
            Some(_) => refusal(format!("{at}.file_id"), NO_FILES),
            None => refusal(format!("{at}.file_data"), "Field required"),
        });
    };
    let at = format!("{at}.file_data");
    if is_web(data) {
        let source = DocumentSource::Url(UrlSource { url: data.into(), extra: Extra::default() });
        return Ok(document(name, source));
    }
    let (media_type, data) = match data_url(&at, data)? {
        Some(found) => (found.media_type, found.data),
        None => (guessed(data, name).to_owned(), data),
    };
    if media_type.starts_with("image/") {
        return base64_image(&at, &media_type, data);
    }
    if media_type.starts_with("text/") || media_type == "application/json" {
        return text(&at, data).map(|source| document(name, source));
    }
    Ok(document(name, base64_document(media_type.into(), data)))
}

fn is_web(url: &str) -> bool {
    let begins =
        |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    begins("https://") || begins("http://")
}

/// A data URL; `None` where it is none.
fn data_url<'r>(at: &str, url: &'r str) -> Result<Option<DataUrl<'r>>, Refusal> {
    let Some(rest) = url.get(..5).filter(|start| start.eq_ignore_ascii_case("data:")).map(|_| &url[5..])
    else {
        return Ok(None);
    };
    let Some((head, data)) = rest.split_once(',') else {
        return Err(refusal(at, "a data URL has a comma before its data"));
    };
    let encoded = head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    if !encoded {
        return Err(refusal(at, "a data URL must be in base64: data:<media type>;base64,<data>"));
    }
    Ok(Some(DataUrl { media_type: essence(head), data }))
}

/// What a file without a media type is: by its first bytes, else by its name.
fn guessed(data: &str, name: Option<&str>) -> &'static str {
    const BY_NAME: &[(&str, &str)] = &[
        ("txt", "text/plain"),
        ("md", "text/markdown"),
        ("csv", "text/csv"),
        ("html", "text/html"),
        ("json", "application/json"),
        ("doc", "application/msword"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("xls", "application/vnd.ms-excel"),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ];
    if head(data).starts_with(b"%PDF") {
        return "application/pdf";
    }
    let extension = name.and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension);
    let found = BY_NAME.iter().find(|(known, _)| extension.eq_ignore_ascii_case(known));
    found.map_or("application/pdf", |(_, media_type)| media_type)
}

/// The bytes decide, whatever they are called.
fn base64_image<'r>(at: &str, media_type: &str, data: &'r str) -> Result<Block<'r>, Refusal> {
    let Some(format) = format(data, media_type) else {
        let shown: String = media_type.chars().take(64).collect();
        return Err(refusal(at, format!("Could not process image: '{shown}' is not supported")));
    };
    let source = Base64Source {
        media_type: format!("image/{format}").into(),
        data: data.into(),
        extra: Extra::default(),
    };
    Ok(image_block(ImageSource::Base64(source)))
}

fn image_block(source: ImageSource<'_>) -> Block<'_> {
    Block::Image(ImageBlock { source, cache_control: None, extra: Extra::default() })
}

fn text(at: &str, data: &str) -> Result<DocumentSource<'static>, Refusal> {
    let data: String = data.split_ascii_whitespace().collect();
    let bytes = base64_simd::STANDARD
        .decode_to_vec(data.as_bytes())
        .map_err(|_| refusal(at, "invalid base64 data"))?;
    let data = String::from_utf8(bytes).map_err(|_| refusal(at, "text files must be in UTF-8"))?;
    let media_type = Some(Cow::Borrowed("text/plain"));
    Ok(DocumentSource::Text(TextSource { media_type, data: data.into(), extra: Extra::default() }))
}

fn base64_document<'r>(media_type: Cow<'r, str>, data: &'r str) -> DocumentSource<'r> {
    DocumentSource::Base64(Base64Source { media_type, data: data.into(), extra: Extra::default() })
}

fn document<'r>(name: Option<&'r str>, source: DocumentSource<'r>) -> Block<'r> {
    Block::Document(DocumentBlock {
        source,
        title: name.filter(|name| !name.is_empty()).map(Cow::Borrowed),
        context: None,
        citations: None,
        cache_control: None,
        extra: Extra::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";

    fn json(block: Result<Block<'_>, Refusal>) -> String {
        block.map_or_else(|refusal| refusal.to_string(), |block| serde_json::to_string(&block).unwrap())
    }

    #[test]
    fn the_bytes_of_an_image_decide_and_parameters_go() {
        let png = format!(
            r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PNG}"}}}}"#
        );
        for head in ["image/png", "image/jpeg", "image/png;charset=binary", "IMAGE/PNG; x=1", ""] {
            assert_eq!(json(image("u", &format!("data:{head};base64,{PNG}"))), png, "{head}");
        }
        assert_eq!(
            json(image("u", "data:image/jpg;base64,AAAA")),
            r#"{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"AAAA"}}"#
        );
        assert_eq!(
            json(image("u", "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=")),
            "u: Could not process image: 'image/svg+xml' is not supported"
        );
    }

    #[test]
    fn urls_that_are_no_image_are_refused_with_their_place() {
        for (url, message) in [
            ("data:image/png,%89PNG", "u: a data URL must be in base64: data:<media type>;base64,<data>"),
            ("data:image/png;base64", "u: a data URL has a comma before its data"),
            ("file:///etc/passwd", "u: Input should be an http(s) URL or a data URL in base64"),
            ("", "u: Input should be an http(s) URL or a data URL in base64"),
        ] {
            assert_eq!(json(image("u", url)), message);
        }
        assert_eq!(
            json(image("u", "HTTPS://a.b/c.png")),
            r#"{"type":"image","source":{"type":"url","url":"HTTPS://a.b/c.png"}}"#
        );
    }

    #[test]
    fn a_file_is_what_its_url_its_bytes_or_its_name_say() {
        let of = |data: &str, name| json(file("f", Some(data), None, name));
        let pdf = r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQ="},"title":"a.pdf"}"#;
        assert_eq!(of("data:application/pdf;base64,JVBERi0xLjQ=", Some("a.pdf")), pdf);
        assert_eq!(of("JVBERi0xLjQ=", Some("a.pdf")), pdf);
        assert_eq!(
            of("data:text/plain;charset=utf-8;base64,aMOp", None),
            r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hé"}}"#
        );
        assert!(of("AAAA", Some("a.DOCX")).contains("wordprocessingml"));
        assert!(of(&format!("data:image/png;base64,{PNG}"), None).starts_with(r#"{"type":"image""#));
        assert_eq!(of("data:text/plain;base64,/w==", None), "f.file_data: text files must be in UTF-8");
        assert_eq!(json(file("f", None, Some("file-1"), None)), format!("f.file_id: {NO_FILES}"));
        assert_eq!(json(file("f", None, None, None)), "f.file_data: Field required");
    }
}
