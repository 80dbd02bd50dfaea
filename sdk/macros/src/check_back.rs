//! `#[check_back]`: a function becomes the export `avouch:rules/check-back`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, Ident, Item};

use crate::signature::{Shape, assert_type, with_error, without_arguments};

const CHECK: Shape = Shape {
    attribute: "check_back",
    written: "fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError>",
    arguments: 2,
};

pub fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // What is no item at all is left to the compiler, which says best why.
    let Ok(parsed) = syn::parse2::<Item>(item.clone()) else { return item };
    match function(arguments, parsed) {
        Ok(function) => {
            let added = exported(&function);
            quote! { #item #added }
        }
        Err(error) => with_error(item, &error),
    }
}

fn function(arguments: TokenStream, item: Item) -> Result<Ident, Error> {
    without_arguments(CHECK.attribute, arguments)?;
    let Item::Fn(function) = item else {
        return Err(Error::new_spanned(item, format!("`#[check_back]` goes on a function: `{}`", CHECK.written)));
    };
    CHECK.verify(&function.sig)?;
    Ok(function.sig.ident)
}

fn exported(check: &Ident) -> TokenStream {
    let assertion = assert_type(
        check,
        quote! {
            fn(&::avouch_sdk::Transaction, &::avouch_sdk::Context)
                -> ::core::result::Result<::avouch_sdk::Verdict, ::avouch_sdk::RuleError>
        },
    );
    quote! {
        #assertion
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct CheckBack;
            impl ::avouch_sdk::__private::check_back::Guest for CheckBack {
                fn check(
                    tx: ::avouch_sdk::Transaction,
                ) -> ::core::result::Result<::avouch_sdk::Verdict, ::avouch_sdk::RuleError> {
                    let cx = ::avouch_sdk::__private::enter();
                    #check(&tx, &cx)
                }
            }
            ::avouch_sdk::__private::export_check_back!(
                CheckBack with_types_in ::avouch_sdk::__private::check_back_plugin
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
    fn a_check_is_kept_and_exported_on_wasm32_only() {
        let check = quote! { fn check(tx: &Transaction, cx: &Context) -> Result<Verdict, RuleError> { todo!() } };
        let expanded = on(check.clone());
        assert!(expanded.starts_with(&check.to_string()));
        assert!(expanded.contains("export_check_back") && !expanded.contains("compile_error"));
        let native = expanded.split("# [cfg (target_arch = \"wasm32\")]").next().expect("split gives a first part");
        assert!(!native.contains("__private"));
    }

    #[test]
    fn a_wrong_signature_is_told_what_is_right() {
        let wrong = [
            (quote! { fn check(tx: &Transaction) -> Result<Verdict, RuleError> {} }, "it takes 2 arguments, not 1"),
            (quote! { fn check() {} }, "it takes 2 arguments, not 0"),
            (quote! { fn check(tx: &Transaction, cx: &Context) {} }, "it returns a Result"),
            (quote! { async fn check(tx: &Transaction, cx: &Context) -> R {} }, "it cannot be async"),
            (quote! { unsafe fn check(tx: &Transaction, cx: &Context) -> R {} }, "it cannot be unsafe"),
            (quote! { fn check<T>(tx: &T, cx: &Context) -> R {} }, "it cannot be generic"),
            (quote! { fn check(&self, cx: &Context) -> R {} }, "it is a function, not a method"),
            (quote! { struct Check; }, "goes on a function"),
        ];
        for (item, expected) in wrong {
            let expanded = on(item);
            assert!(expanded.contains(expected), "{expected}: {expanded}");
            assert!(expanded.contains(CHECK.written) && !expanded.contains("export_check_back"));
        }
    }

    #[test]
    fn arguments_are_refused() {
        let check = quote! { fn check(tx: &Transaction, cx: &Context) -> R {} };
        assert!(expand(quote! { name = "x" }, check).to_string().contains("takes no arguments"));
    }

    #[test]
    fn a_syntax_error_is_left_to_the_compiler() {
        let broken = quote! { fn check() { let = ; } };
        assert_eq!(on(broken.clone()), broken.to_string());
    }
}
