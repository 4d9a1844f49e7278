//! Citations: <https://platform.claude.com/docs/en/build-with-claude/citations>.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Json, tag};

/// Where a text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Citation {
    /// Characters of a plain-text document.
    CharLocation(CharLocation),
    /// Pages of a PDF.
    PageLocation(PageLocation),
    /// Blocks of a custom-content document.
    ContentBlockLocation(ContentBlockLocation),
    /// Blocks of a search result that the caller gave.
    SearchResultLocation(SearchResultLocation),
    /// A page on the web.
    WebSearchResultLocation(WebSearchResultLocation),
    /// A location that this build does not know, whole.
    #[serde(untagged)]
    Unknown(Json),
}

// `document_title` and `title` are written also when null: callers hand citations back, and there the members are
// required (https://platform.claude.com/docs/en/build-with-claude/citations).

/// Characters `start..end` of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are the vendor's and say what they are")]
pub struct CharLocation {
    #[serde(default)]
    pub cited_text: String,
    pub document_index: u64,
    #[serde(default)]
    pub document_title: Option<String>,
    pub start_char_index: u64,
    pub end_char_index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
}

/// Pages `start..end` of a document, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are the vendor's and say what they are")]
pub struct PageLocation {
    #[serde(default)]
    pub cited_text: String,
    pub document_index: u64,
    #[serde(default)]
    pub document_title: Option<String>,
    pub start_page_number: u64,
    pub end_page_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
}

/// Blocks `start..end` of a document's custom content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are the vendor's and say what they are")]
pub struct ContentBlockLocation {
    #[serde(default)]
    pub cited_text: String,
    pub document_index: u64,
    #[serde(default)]
    pub document_title: Option<String>,
    pub start_block_index: u64,
    pub end_block_index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
}

/// Blocks `start..end` of a search result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are the vendor's and say what they are")]
pub struct SearchResultLocation {
    #[serde(default)]
    pub cited_text: String,
    pub search_result_index: u64,
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub title: Option<String>,
    pub start_block_index: u64,
    pub end_block_index: u64,
}

/// A page on the web.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members are the vendor's and say what they are")]
pub struct WebSearchResultLocation {
    #[serde(default)]
    pub cited_text: String,
    pub url: String,
    #[serde(default)]
    pub title: Option<String>,
    #[serde(default)]
    pub encrypted_index: String,
}

impl Citation {
    fn parse(object: &RawValue) -> Result<Self, serde_json::Error> {
        let text = object.get();
        Ok(match tag(text)?.as_ref() {
            "char_location" => Self::CharLocation(serde_json::from_str(text)?),
            "page_location" => Self::PageLocation(serde_json::from_str(text)?),
            "content_block_location" => Self::ContentBlockLocation(serde_json::from_str(text)?),
            "search_result_location" => Self::SearchResultLocation(serde_json::from_str(text)?),
            "web_search_result_location" => Self::WebSearchResultLocation(serde_json::from_str(text)?),
            _ => Self::Unknown(object.into()),
        })
    }
}

impl<'de> Deserialize<'de> for Citation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(&object).map_err(D::Error::custom)
    }
}
