//! Which functions can be rules, and what is said of the others.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ReturnType, Safety, Signature};

/// What a rule's function looks like.
pub struct Shape {
    /// The attribute that goes on it: `check_back`.
    pub attribute: &'static str,
    /// The whole signature, as one would write it.
    pub written: &'static str,
    /// How many arguments it takes.
    pub arguments: usize,
}

impl Shape {
    /// What is wrong with `signature`, as far as syntax can tell; the types are left to the compiler.
    pub fn verify(&self, signature: &Signature) -> Result<(), Error> {
        if let Some(token) = &signature.asyncness {
            return Err(self.error(token.span(), "it cannot be async: the host's functions answer at once"));
        }
        if let Safety::Unsafe(token) = &signature.safety {
            return Err(self.error(token.span(), "it cannot be unsafe"));
        }
        if !signature.generics.params.is_empty() {
            return Err(self.error(signature.generics.span(), "it cannot be generic"));
        }
        if let Some(FnArg::Receiver(receiver)) = signature.inputs.first() {
            return Err(self.error(receiver.span(), "it is a function, not a method"));
        }
        if signature.inputs.len() != self.arguments {
            let span = if signature.inputs.is_empty() { signature.ident.span() } else { signature.inputs.span() };
            let what = format!("it takes {} arguments, not {}", self.arguments, signature.inputs.len());
            return Err(self.error(span, &what));
        }
        if matches!(signature.output, ReturnType::Default) {
            return Err(self.error(signature.ident.span(), "it returns a Result"));
        }
        Ok(())
    }

    fn error(&self, span: Span, what: &str) -> Error {
        Error::new(span, format!("{what}; `#[{}]` goes on `{}`", self.attribute, self.written))
    }
}

/// Nothing may stand between an attribute's parentheses.
pub fn without_arguments(attribute: &str, arguments: TokenStream) -> Result<(), Error> {
    if arguments.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(arguments, format!("`#[{attribute}]` takes no arguments")))
}

/// Code that compiles only if `function` has the type `pointer`; the compiler's message points at its name.
pub fn assert_type(function: &Ident, pointer: TokenStream) -> TokenStream {
    let span = function.span();
    quote_spanned! { span=> const _: #pointer = #function; }
}

/// The item as it was and, beside it, what is wrong with it.
pub fn with_error(item: TokenStream, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    quote! { #item #error }
}
