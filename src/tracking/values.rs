//! The values that partners and advertisers send along: a fixed list of names each, free text behind them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! named_values {
    ($(#[$doc:meta])* $type:ident, $count:literal, [$($name:literal),+ $(,)?]) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $type<'a>([Cow<'a, str>; $count]);

        impl<'a> $type<'a> {
            /// The names on the wire, in the order of storage.
            pub const NAMES: [&'static str; $count] = [$($name),+];

            /// The place of a name.
            pub fn index_of(name: &str) -> Option<usize> {
                Self::NAMES.iter().position(|known| *known == name)
            }

            /// Builds the values from a function that gives each one by its name.
            pub fn from_fn<T: Into<Cow<'a, str>>>(mut value: impl FnMut(&'static str) -> T) -> Self {
                Self(Self::NAMES.map(|name| value(name).into()))
            }

            /// The same, kept for longer than the text that they were read from.
            pub fn into_owned(self) -> $type<'static> {
                $type(self.0.map(|value| Cow::Owned(value.into_owned())))
            }

            /// The values in the order of [`Self::NAMES`]; an absent one is empty.
            pub fn values(&self) -> &[Cow<'a, str>; $count] {
                &self.0
            }

            /// The same, to be changed in place.
            pub fn values_mut(&mut self) -> &mut [Cow<'a, str>; $count] {
                &mut self.0
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $type<'_> {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let properties: BTreeMap<&str, serde_json::Value> =
                    Self::NAMES.into_iter().map(|name| (name, serde_json::json!({"type": "string"}))).collect();
                schemars::json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
            }
        }

        impl Serialize for $type<'_> {
            /// A map of the values that are not empty.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(
                    Self::NAMES.iter().zip(&self.0).filter(|(_, value)| !value.is_empty()),
                )
            }
        }

        impl<'de> Deserialize<'de> for $type<'static> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut values = Self::default();
                for (name, value) in BTreeMap::<String, String>::deserialize(deserializer)? {
                    let place = Self::index_of(&name)
                        .and_then(|index| values.0.get_mut(index))
                        .ok_or_else(|| de::Error::unknown_field(&name, &Self::NAMES))?;
                    *place = value.into();
                }
                Ok(values)
            }
        }
    };
}

named_values!(
    /// What a partner hangs on a tracking link.
    SubIds,
    12,
    [
        "source",
        "aff_sub",
        "aff_sub2",
        "aff_sub3",
        "aff_sub4",
        "aff_sub5",
        "aff_click_id",
        "aff_unique1",
        "aff_unique2",
        "aff_unique3",
        "aff_unique4",
        "aff_unique5",
    ]
);

named_values!(
    /// What an advertiser hangs on a postback.
    AdvertiserValues,
    10,
    [
        "adv_sub",
        "adv_sub2",
        "adv_sub3",
        "adv_sub4",
        "adv_sub5",
        "adv_unique1",
        "adv_unique2",
        "adv_unique3",
        "adv_unique4",
        "adv_unique5",
    ]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_the_json() {
        let values = SubIds::from_fn(|name| match name {
            "source" => "awesomepub",
            "aff_unique5" => "é\"",
            _ => "",
        });
        let json = r#"{"source":"awesomepub","aff_unique5":"é\""}"#;
        assert_eq!(serde_json::to_string(&values).expect("json"), json);
        assert_eq!(
            serde_json::from_str::<SubIds>(json).expect("values"),
            values
        );
        assert!(serde_json::from_str::<SubIds>(r#"{"aff_sub6":"x"}"#).is_err());
    }
}
