//! The `#[task]` attribute: a function that keeps working as one, and can also be described and sent.

use proc_macro::TokenStream;
use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Error, FnArg, GenericArgument, Ident, ItemFn, LitStr, Pat, PathArguments, ReturnType, Type,
    parse_macro_input, parse_quote, spanned::Spanned,
};

/// Makes a function a task.
///
/// The function stays as it is. Beside it comes an uninhabited type of the same name with one function,
/// `delayed`, which takes for each parameter a value or another task's result and returns a `Delayed`.
///
/// ```text
/// #[task]                       // or #[task(name = "shop.add")]
/// fn add(a: f64, b: f64) -> f64 { a + b }
///
/// add(1., 2.)                   // runs here
/// add::delayed(1., 2.)          // describes the call
/// ```
///
/// | parameter | in `delayed` | in the function |
/// |---|---|---|
/// | `x: T` | a `T`, `Delayed<T>` or `&Delayed<T>` | owned: a clone of the shared value |
/// | `x: &T` | the same | borrowed from the shared value |
/// | `xs: &[Arc<T>]` | a `Vec<Delayed<T>>` | the list, nothing cloned |
/// | `actor: &mut T`, as the first one | an actor whose state is a `T` | borrowed: no other call of the actor runs meanwhile |
///
/// A return type whose last word is `Result` makes the task's type its first parameter; an `Err` is the task's
/// failure and must implement `Display`. Functions with generics, `self`, `async` or `unsafe` are refused.
///
/// | name | default | purpose | range |
/// |---|---|---|---|
/// | `name` | the function's path | the name messages carry | unique in the program |
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut name: Option<LitStr> = None;
    let parser = syn::meta::parser(|meta| {
        if meta.path.is_ident("name") {
            name = Some(meta.value()?.parse()?);
            Ok(())
        } else {
            Err(meta.error("unknown option; `name = \"...\"` is the only one"))
        }
    });
    parse_macro_input!(attribute with parser);
    let function = parse_macro_input!(item as ItemFn);
    expand(name, &function)
        .unwrap_or_else(|error| {
            let error = error.to_compile_error();
            quote!(#function #error)
        })
        .into()
}

fn expand(name: Option<LitStr>, function: &ItemFn) -> Result<Tokens, Error> {
    let signature = &function.sig;
    let refused = [
        (signature.constness.map(|t| t.span()), "const"),
        (signature.asyncness.map(|t| t.span()), "async"),
        (signature.unsafety.map(|t| t.span()), "unsafe"),
        (signature.variadic.as_ref().map(Spanned::span), "variadic"),
    ];
    if let Some((Some(span), what)) = refused.into_iter().find(|(span, _)| span.is_some()) {
        return Err(Error::new(span, format!("a task cannot be {what}")));
    }
    if !signature.generics.params.is_empty() {
        let message = "a task cannot be generic: write one task for each type, all calling one generic function";
        return Err(Error::new(signature.generics.span(), message));
    }
    let engine = engine_path()?;
    let inputs = signature.inputs.iter().enumerate();
    let parameters = inputs.map(|(i, input)| Parameter::read(input, i == 0)).collect::<Result<Vec<_>, _>>()?;
    let (output, fallible) = read_output(&signature.output);

    let ident = &signature.ident;
    let visibility = &function.vis;
    let names: Vec<_> = parameters.iter().map(|p| &p.name).collect();
    let accepted: Vec<_> = parameters.iter().map(|p| p.accepted(&engine)).collect();
    // Inside `run` the inputs have names of their own: a parameter may be named like the function.
    let inputs: Vec<_> = (0..parameters.len()).map(|place| format_ident!("input_{place}")).collect();
    let converted = parameters.iter().map(|p| {
        let (name, kind) = (&p.name, p.argument_type(&engine));
        quote!(::core::convert::Into::<#kind>::into(#name).into_argument())
    });
    let reads = parameters.iter().enumerate().map(|(place, p)| p.read_input(place, &engine));
    let passes = parameters.iter().enumerate().map(|(place, p)| p.pass(place));
    let n_parameters = parameters.len();
    let call = quote!(#ident(#(#passes),*));
    let run = if fallible {
        quote!(match #call {
            ::core::result::Result::Ok(value) => ::core::result::Result::Ok(#engine::value::Value::new(value)),
            ::core::result::Result::Err(error) => ::core::result::Result::Err(::std::string::ToString::to_string(&error)),
        })
    } else {
        quote!(::core::result::Result::Ok(#engine::value::Value::new(#call)))
    };

    let text = signature_text(&parameters, &output);
    let path = quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#ident)));
    let name = name.map_or_else(|| path.clone(), |name| name.to_token_stream());
    let docs = format!("The task form of the function [`{ident}`](fn@{ident}).");
    let cfgs: Vec<&Attribute> = function.attrs.iter().filter(|a| a.path().is_ident("cfg")).collect();
    let many = (n_parameters > 7).then(|| quote!(#[allow(clippy::too_many_arguments)]));

    Ok(quote! {
        #function

        #(#cfgs)*
        #[doc = #docs]
        #[allow(non_camel_case_types, missing_debug_implementations, unreachable_pub)]
        #visibility enum #ident {}

        #(#cfgs)*
        #[allow(unreachable_pub)]
        const _: () = {
            impl #ident {
                /// Describes a call; nothing runs.
                #many
                pub fn delayed(#(#names: #accepted),*) -> #engine::graph::Delayed<#output> {
                    #engine::graph::Delayed::call(&DEF, [#(#converted),*])
                }
            }

            static DEF: #engine::task::TaskDef =
                #engine::task::TaskDef { name: #name, path: #path, signature: #text, run };

            #engine::task::submit! { DEF }

            fn run(inputs: &[#engine::task::Input]) -> ::core::result::Result<#engine::value::Value, ::std::string::String> {
                let [#(#inputs),*] = inputs else {
                    return ::core::result::Result::Err(
                        ::std::format!("{} arguments were given, the function takes {}", inputs.len(), #n_parameters));
                };
                #(#reads)*
                #run
            }
        };
    })
}

/// Where the engine is for the crate being compiled: below `phalanx` for users, itself for our own crates.
fn engine_path() -> Result<Tokens, Error> {
    let absolute = |name: &str| {
        let ident = Ident::new(name, Span::call_site());
        quote!(::#ident)
    };
    match (crate_name("phalanx-engine"), crate_name("phalanx")) {
        (Ok(FoundCrate::Name(name)), _) => Ok(absolute(&name)),
        // The engine's own doc tests and integration tests see it from outside; `extern crate self` makes the
        // path right inside too.
        (Ok(FoundCrate::Itself), _) => Ok(absolute("phalanx_engine")),
        (_, Ok(FoundCrate::Name(name))) => {
            let phalanx = absolute(&name);
            Ok(quote!(#phalanx::engine))
        }
        (_, Ok(FoundCrate::Itself)) => Ok(quote!(::phalanx::engine)),
        _ => Err(Error::new(Span::call_site(), "#[task] needs the crate `phalanx` among the dependencies")),
    }
}

enum Form {
    Owned,
    Borrowed,
    List,
    Actor,
}

struct Parameter {
    name: Ident,
    /// As written.
    written: Type,
    /// Without the reference or the list around it.
    inner: Type,
    form: Form,
}

impl Parameter {
    fn read(argument: &FnArg, is_first: bool) -> Result<Self, Error> {
        let FnArg::Typed(typed) = argument else {
            return Err(Error::new(argument.span(), "a task cannot be a method"));
        };
        let Pat::Ident(pattern) = &*typed.pat else {
            return Err(Error::new(typed.pat.span(), "a task's parameters need plain names"));
        };
        let written = (*typed.ty).clone();
        let (inner, form) = match &written {
            Type::Reference(reference) if reference.mutability.is_some() => {
                if !is_first {
                    let message =
                        "a task cannot change its arguments: take `&T` or `T`, or make the first one an actor";
                    return Err(Error::new(reference.span(), message));
                }
                ((*reference.elem).clone(), Form::Actor)
            }
            Type::Reference(reference) => match &*reference.elem {
                Type::Slice(slice) => match arc_of(&slice.elem) {
                    Some(inner) => (inner, Form::List),
                    None => return Err(Error::new(slice.span(), "a list of results is written `&[Arc<T>]`")),
                },
                Type::Path(path) if path.path.is_ident("str") => (parse_quote!(::std::string::String), Form::Borrowed),
                inner => (inner.clone(), Form::Borrowed),
            },
            owned => (owned.clone(), Form::Owned),
        };
        Ok(Self { name: format_ident!("{}", pattern.ident), written, inner, form })
    }

    fn argument_type(&self, engine: &Tokens) -> Tokens {
        let inner = &self.inner;
        match self.form {
            Form::Owned | Form::Borrowed => quote!(#engine::graph::Arg<#inner>),
            Form::List => quote!(#engine::graph::ArgList<#inner>),
            Form::Actor => quote!(#engine::graph::Arg<#engine::actor::ActorState<#inner>>),
        }
    }

    fn accepted(&self, engine: &Tokens) -> Tokens {
        let argument = self.argument_type(engine);
        quote!(impl ::core::convert::Into<#argument>)
    }

    fn read_input(&self, place: usize, engine: &Tokens) -> Tokens {
        let (name, inner, input) = (&self.name, &self.inner, format_ident!("input_{place}"));
        let label = format!("argument {} ({name}): ", place + 1);
        let explain = quote!(|error: #engine::data::DataError| ::std::format!("{}{}", #label, error));
        match self.form {
            Form::Owned | Form::Borrowed => quote! {
                let #input = #input.one().and_then(|value| value.get::<#inner>()).map_err(#explain)?;
            },
            Form::Actor => quote! {
                let #input = #input.one()
                    .and_then(|value| value.get::<#engine::actor::ActorState<#inner>>()).map_err(#explain)?;
            },
            Form::List => quote! {
                let #input = #input.many()
                    .and_then(|values| values.iter().map(|value| value.get::<#inner>()).collect::<::core::result::Result<::std::vec::Vec<_>, _>>())
                    .map_err(#explain)?;
            },
        }
    }

    fn pass(&self, place: usize) -> Tokens {
        let input = format_ident!("input_{place}");
        match self.form {
            Form::Owned => quote!(::std::sync::Arc::unwrap_or_clone(#input)),
            Form::Borrowed => quote!(&*#input),
            Form::List => quote!(&#input),
            Form::Actor => quote!(&mut *#input.lock()),
        }
    }
}

/// `T` of `Arc<T>`.
fn arc_of(written: &Type) -> Option<Type> {
    match written {
        Type::Path(path) => match path.path.segments.last() {
            Some(last) if last.ident == "Arc" => first_argument(&last.arguments),
            _ => None,
        },
        _ => None,
    }
}

/// The task's type, and whether the function can fail.
fn read_output(output: &ReturnType) -> (Type, bool) {
    let ReturnType::Type(_, written) = output else { return (parse_quote!(()), false) };
    if let Type::Path(path) = &**written
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
        && let Some(inner) = first_argument(&last.arguments)
    {
        return (inner, true);
    }
    ((**written).clone(), false)
}

fn first_argument(arguments: &PathArguments) -> Option<Type> {
    let PathArguments::AngleBracketed(list) = arguments else { return None };
    list.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(inner) => Some(inner.clone()),
        _ => None,
    })
}

fn signature_text(parameters: &[Parameter], output: &Type) -> String {
    let parameters: Vec<_> = parameters.iter().map(|p| type_text(&p.written)).collect();
    format!("({}) -> {}", parameters.join(", "), type_text(output))
}

/// A type as people write it: tokens without the spaces that printing them puts in.
fn type_text(written: &Type) -> String {
    let spaced = written.to_token_stream().to_string();
    let mut text = String::with_capacity(spaced.len());
    let mut characters = spaced.chars().peekable();
    while let Some(c) = characters.next() {
        let (before, after) = (text.chars().last(), characters.peek().copied());
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if c != ' ' || (word(before) && word(after)) || before == Some(',') || before == Some(';') {
            text.push(c);
        }
    }
    text
}
