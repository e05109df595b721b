//! Any text, by the shape of every kind of record: its canonical form is JSON, its own canonical
//! form, and no longer than a few times the text.

#![no_main]

use common::drift::{Shape, canonical, difference};
use common::platform;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let shapes = platform::all().into_iter().flat_map(|platform| platform.records());
    for shape in shapes.map(|kind| kind.shape).chain([&Shape::Verbatim, &Shape::Whole]) {
        let Ok(form) = canonical(text, shape) else { continue };
        serde_json::from_str::<&serde_json::value::RawValue>(form.as_str()).expect("it is JSON");
        let again = canonical(form.as_str(), shape).expect("it has a form");
        assert_eq!(again, form, "the form of the form is itself");
        assert!(difference(&form, &again).expect("two forms").is_empty());
        assert!(form.as_str().len() <= 8 * text.len(), "it does not explode");
    }
});
