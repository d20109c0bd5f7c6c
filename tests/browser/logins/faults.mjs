// What can be wrong with an answer of the provider. Each changes a draft of the ID token before it is signed:
// `header`, `claims`, and `sign`, the name of how.

/** By name: what it does. Every one of them must be refused. */
export const FAULTS = {
  nonce: ({ claims }) => (claims.nonce = "an attacker's"),
  no_nonce: ({ claims }) => delete claims.nonce,
  aud: ({ claims }) => (claims.aud = "another-client"),
  iss: ({ claims }) => (claims.iss += "x"),
  expired: ({ claims }) => Object.assign(claims, { iat: claims.iat - 7200, exp: claims.iat - 3600 }),
  not_yet: ({ claims }) => Object.assign(claims, { iat: claims.iat + 3600, exp: claims.iat + 7200 }),
  token_use: ({ claims }) => (claims.token_use = "access"),
  at_hash: ({ claims }) => (claims.at_hash = "AAAAAAAAAAAAAAAAAAAAAA"),
  no_sub: ({ claims }) => delete claims.sub,
  unknown_key: (draft) => Object.assign(draft, { header: { ...draft.header, kid: "nobody's" }, sign: "stranger" }),
  wrong_key: (draft) => (draft.sign = "stranger"),
  access_key: (draft) => (draft.sign = "access"),
  alg_none: (draft) => Object.assign(draft, { header: { ...draft.header, alg: "none" }, sign: "nothing" }),
  hs256: (draft) => Object.assign(draft, { header: { ...draft.header, alg: "HS256" }, sign: "public_key_as_secret" }),
  access_token_as_id_token: (draft) => (draft.sign = "access_token"),
  no_id_token: (draft) => (draft.sign = "leave_out"),
};
