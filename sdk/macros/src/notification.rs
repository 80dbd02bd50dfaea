//! `#[notification]`: a module with two marked functions becomes the export `avouch:rules/notification`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::spanned::Spanned;
use syn::{Error, Ident, Item, ItemMod};

use crate::marks::{marked, on_a_module, put_into};
use crate::signature::{Shape, assert_type, with_error, without_arguments};

const SHAPE: Shape = Shape {
    attribute: "shape",
    written: "fn shape(d: &Delivery, cx: &Context) -> Result<Shaped, RuleError>",
    arguments: 2,
};

const READ: Shape = Shape {
    attribute: "read",
    written: "fn read(d: &Delivery, r: &NotificationResponse, cx: &Context) -> Result<Outcome, RuleError>",
    arguments: 3,
};

/// The names of the marked functions.
struct Rule {
    shape: Ident,
    read: Option<Ident>,
}

pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // What is no item at all is left to the compiler, which says best why.
    let Ok(parsed) = syn::parse2::<Item>(item.clone()) else { return item };
    let Item::Mod(mut module) = parsed else {
        return with_error(item, &on_a_module("notification", parsed.span()));
    };
    match rule(arguments, &mut module) {
        Ok(rule) => put_into(&mut module, exported(&rule)),
        Err(error) => put_into(&mut module, error.to_compile_error()),
    }
    module.into_token_stream()
}

/// Takes the marks off the module's functions and tells which ones they were on.
fn rule(arguments: TokenStream, module: &mut ItemMod) -> Result<Rule, Error> {
    let name = module.ident.clone();
    let Some((_, items)) = &mut module.content else {
        return Err(on_a_module("notification", name.span()));
    };
    // Both are looked for before any error is returned: a mark left behind would be an error of its own.
    let shape = marked(items, &SHAPE);
    let read = marked(items, &READ);
    without_arguments("notification", arguments)?;
    let message = format!("module `{name}` needs one function with `#[shape]`: `{}`", SHAPE.written);
    Ok(Rule { read: read?, shape: shape?.ok_or_else(|| Error::new(name.span(), message))? })
}

fn exported(rule: &Rule) -> TokenStream {
    let shape = &rule.shape;
    let mut assertions = assert_type(
        shape,
        quote! {
            fn(&::avouch_sdk::Delivery, &::avouch_sdk::Context)
                -> ::core::result::Result<::avouch_sdk::Shaped, ::avouch_sdk::RuleError>
        },
    );
    let mut outcome = quote! { ::core::result::Result::Ok(::avouch_sdk::Outcome::by_status(&r)) };
    if let Some(read) = &rule.read {
        assertions.extend(assert_type(
            read,
            quote! {
                fn(&::avouch_sdk::Delivery, &::avouch_sdk::NotificationResponse, &::avouch_sdk::Context)
                    -> ::core::result::Result<::avouch_sdk::Outcome, ::avouch_sdk::RuleError>
            },
        ));
        outcome = quote! { #read(&d, &r, &cx) };
    }
    quote! {
        #assertions
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Notification;
            impl ::avouch_sdk::__private::notification::Guest for Notification {
                fn shape(
                    d: ::avouch_sdk::Delivery,
                ) -> ::core::result::Result<::avouch_sdk::Shaped, ::avouch_sdk::RuleError> {
                    let cx = ::avouch_sdk::__private::enter();
                    #shape(&d, &cx)
                }

                fn read(
                    d: ::avouch_sdk::Delivery,
                    r: ::avouch_sdk::NotificationResponse,
                ) -> ::core::result::Result<::avouch_sdk::Outcome, ::avouch_sdk::RuleError> {
                    let cx = ::avouch_sdk::__private::enter();
                    let _ = (&d, &r, &cx);
                    #outcome
                }
            }
            ::avouch_sdk::__private::export_notification!(
                Notification with_types_in ::avouch_sdk::__private::notification_plugin
            );
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(item: TokenStream) -> String {
        expand(TokenStream::new(), item).to_string()
    }

    #[test]
    fn the_marks_are_taken_off_and_both_functions_are_exported() {
        let expanded = on(quote! {
            mod rule {
                #[avouch_sdk::shape]
                fn what(d: &Delivery, cx: &Context) -> Result<Shaped, RuleError> { todo!() }
                #[read]
                fn means(d: &Delivery, r: &NotificationResponse, cx: &Context) -> Result<Outcome, RuleError> { todo!() }
            }
        });
        assert!(!expanded.contains("# [read]") && !expanded.contains("shape]"), "{expanded}");
        assert!(expanded.contains("what (& d , & cx)") && expanded.contains("means (& d , & r , & cx)"));
        assert!(expanded.contains("export_notification") && !expanded.contains("compile_error"));
        let native = expanded.split("# [cfg (target_arch = \"wasm32\")]").next().expect("split gives a first part");
        assert!(!native.contains("__private"));
    }

    #[test]
    fn without_read_the_status_tells() {
        let expanded = on(quote! { mod rule { #[shape] fn shape(d: &Delivery, cx: &Context) -> R {} } });
        assert!(expanded.contains("Outcome :: by_status (& r)") && !expanded.contains("compile_error"));
    }

    #[test]
    fn a_wrong_module_is_told_what_is_right() {
        let wrong = [
            (quote! { mod rule {} }, "needs one function with `#[shape]`"),
            (quote! { mod rule; }, "goes on a module with its body"),
            (quote! { fn rule() {} }, "goes on a module with its body"),
            (quote! { mod rule { #[shape] fn a(d: &Delivery) -> R {} } }, "it takes 2 arguments, not 1"),
            (quote! { mod rule { #[shape(x)] fn a(d: &Delivery, cx: &Context) -> R {} } }, "unexpected token"),
            (
                quote! { mod rule { #[read] fn a(d: &Delivery, r: &NotificationResponse, cx: &Context) -> R {} } },
                "needs one function with `#[shape]`",
            ),
            (
                quote! {
                    mod rule {
                        #[shape] fn a(d: &Delivery, cx: &Context) -> R {}
                        #[shape] fn b(d: &Delivery, cx: &Context) -> R {}
                    }
                },
                "`a` is `#[shape]` already",
            ),
            (
                quote! {
                    mod rule {
                        #[shape] fn a(d: &Delivery, cx: &Context) -> R {}
                        #[read] fn b(d: &Delivery, cx: &Context) -> R {}
                    }
                },
                "it takes 3 arguments, not 2",
            ),
        ];
        for (item, expected) in wrong {
            let expanded = on(item);
            assert!(expanded.contains(expected), "{expected}: {expanded}");
            assert!(!expanded.contains("export_notification"));
        }
    }

    #[test]
    fn arguments_are_refused() {
        let module = quote! { mod rule { #[shape] fn a(d: &Delivery, cx: &Context) -> R {} } };
        assert!(expand(quote! { name = "x" }, module).to_string().contains("takes no arguments"));
    }
}
