//! Marked functions of a rule's module: each mark on one function at most, and nowhere else.

use proc_macro2::{Span, TokenStream};
use syn::{Attribute, Error, Ident, Item, ItemFn, ItemMod};

use crate::signature::{Shape, with_error};

/// What is said of a rule's attribute on something else.
pub fn on_a_module(rule: &str, span: Span) -> Error {
    Error::new(span, format!("`#[{rule}]` goes on a module with its body"))
}

/// A mark where no module of its rule has taken it away.
pub fn stray(mark: &str, rule: &str, item: TokenStream) -> TokenStream {
    let message = format!("`#[{mark}]` goes on a function directly inside a module with `#[{rule}]`");
    with_error(item, &Error::new(Span::call_site(), message))
}

/// The one function that bears `shape`'s attribute, which is taken off every function.
pub fn marked(items: &mut [Item], shape: &Shape) -> Result<Option<Ident>, Error> {
    let mut found: Option<Ident> = None;
    let mut verified = Ok(());
    for item in items {
        let Item::Fn(function) = item else { continue };
        let Some(mark) = take_mark(function, shape.attribute) else { continue };
        let verdict = match &found {
            Some(first) => Err(Error::new_spanned(&mark, format!("`{first}` is `#[{}]` already", shape.attribute))),
            None => mark.meta.require_path_only().and_then(|_| shape.verify(&function.sig)),
        };
        verified = verified.and(verdict);
        found = Some(function.sig.ident.clone());
    }
    verified.map(|()| found)
}

fn take_mark(function: &mut ItemFn, attribute: &str) -> Option<Attribute> {
    let is_mark = |a: &Attribute| a.path().segments.last().is_some_and(|segment| segment.ident == attribute);
    let index = function.attrs.iter().position(is_mark)?;
    Some(function.attrs.remove(index))
}

/// Adds code inside the module; a module without a body gets one, for the error that says so.
pub fn put_into(module: &mut ItemMod, added: TokenStream) {
    module.semi = None;
    module.content.get_or_insert_default().1.push(Item::Verbatim(added));
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn a_mark_outside_a_module_is_told_where_it_belongs() {
        let told = |mark, rule| stray(mark, rule, quote! { fn f() {} }).to_string();
        assert!(told("identify", "idempotency").contains("directly inside a module with `#[idempotency]`"));
        assert!(told("shape", "notification").contains("`#[shape]` goes on a function"));
    }
}
