import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Schema } from "effect"
import * as Asset from "../src/Asset.ts"
import { Chain } from "../src/Chain.ts"
import { Offer } from "../src/Offer.ts"
import type { PolicyDenied } from "../src/PaymentError.ts"
import * as Policy from "../src/Policy.ts"
import * as Json from "../src/wire/Json.ts"

const table = Asset.makeTable(Asset.known)
const usdc = Option.getOrThrow(table.find("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"))
const testUsdc = Option.getOrThrow(table.find("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e"))

const payee = "0x209693bc6afc0c5328ba36faf03c514ef312287c"
const question: Policy.Question = {
  origin: "https://api.example.com",
  asset: usdc,
  payer: "0x857b06519E91e3A54538791bDbb0E22373e36b66",
  now: 1_000
}

const offer = (change: Partial<typeof Offer.Type> = {}) =>
  new Offer({
    protocol: "x402",
    version: 2,
    intent: "charge",
    method: "exact",
    network: usdc.network,
    asset: usdc.address,
    units: 1_000n,
    payee,
    wire: {},
    ...change
  })

const sessionOffer = offer({
  protocol: "mpp/1.0",
  intent: "session",
  method: "token",
  network: "mpp:session",
  asset: "usdc",
  payee: ""
})

const make = (options: Policy.Options = {}, rpcNetworks: ReadonlyArray<string> = []) =>
  Policy.make(options, { rpcNetworks, assets: table })

const rule = (objection: Option.Option<PolicyDenied>) =>
  Option.getOrElse(Option.map(objection, (it) => it.rule), () => "")

const screen = (
  options: Policy.Options,
  change: { readonly offer?: Partial<typeof Offer.Type>; readonly question?: Partial<Policy.Question> } = {}
) => rule(make(options).screen(offer(change.offer), { ...question, ...change.question }))

describe("screen", () => {
  it("has nothing against an ordinary offer", () => {
    assert.isTrue(Option.isNone(make().screen(offer(), question)))
  })

  it("says which offer it denies, and why, without a word of the merchant", () => {
    const bad = offer({ payee: "0x0000000000000000000000000000000000000000", merchantText: "pay me" })
    const denied = Option.getOrThrow(make().screen(bad, question))
    assert.strictEqual(denied.offer, bad)
    assert.notInclude(denied.message, "pay me")
  })

  describe("network", () => {
    it("allows the main networks of the table where nothing is configured", () => {
      assert.strictEqual(screen({}), "")
      const onTest = { network: testUsdc.network, asset: testUsdc.address }
      assert.strictEqual(screen({}, { offer: onTest, question: { asset: testUsdc } }), "network")
    })

    it("allows those with an RPC, and no other, where there is one", () => {
      const policy = make({}, [testUsdc.network])
      const onTest = offer({ network: testUsdc.network, asset: testUsdc.address })
      assert.strictEqual(rule(policy.screen(onTest, { ...question, asset: testUsdc })), "")
      assert.strictEqual(rule(policy.screen(offer(), question)), "network")
    })

    it("allows those that are named, whatever has an RPC", () => {
      assert.strictEqual(rule(make({ networks: [usdc.network] }, [testUsdc.network]).screen(offer(), question)), "")
      assert.strictEqual(rule(make({ networks: [] }, [usdc.network]).screen(offer(), question)), "network")
    })

    it("always allows token sessions, which have a list of their own", () => {
      const asked = { ...question, asset: Asset.sessionUsdc, payer: "https://pay.tempo.so/session" }
      assert.strictEqual(rule(make({ networks: [] }).screen(sessionOffer, asked)), "")
    })

    it("denies an offer for another network than the one it would be paid on", () => {
      assert.strictEqual(screen({}, { offer: { network: "eip155:1" } }), "network")
      assert.strictEqual(screen({}, { offer: { network: "" } }), "")
    })
  })

  describe("asset", () => {
    const coin = (change: Partial<typeof Asset.Asset.Type>) => new Asset.Asset({ ...usdc, ...change })

    it("denies one that is not in the table", () => {
      assert.strictEqual(screen({}, { question: { asset: coin({ address: payee }) } }), "asset")
    })

    it("denies one of other decimals than the table's", () => {
      assert.strictEqual(screen({}, { question: { asset: coin({ decimals: 0 }) } }), "asset")
    })

    it("denies one that is no dollar", () => {
      const assets = Asset.makeTable([coin({ usd: false })])
      const policy = Policy.make({ networks: [usdc.network] }, { rpcNetworks: [], assets })
      assert.strictEqual(rule(policy.screen(offer(), question)), "asset")
    })
  })

  describe("payee", () => {
    it("who gets a part must be allowed like who gets the rest", () => {
      const other = `0x${"ab".repeat(20)}`
      const parts = (...alsoPays: ReadonlyArray<string>) => ({ offer: { alsoPays } })
      assert.strictEqual(screen({}, parts(other)), "")
      assert.strictEqual(screen({ allowPayees: [payee, other.toUpperCase().replace("0X", "0x")] }, parts(other)), "")
      assert.strictEqual(screen({ allowPayees: [payee] }, parts(other)), "payee")
      assert.strictEqual(screen({ allowPayees: [payee, other] }, parts(other, `0x${"ac".repeat(20)}`)), "payee")
      assert.strictEqual(screen({}, parts(other, `0x${"0".repeat(40)}`)), "payee")
      assert.strictEqual(screen({}, parts(question.payer.toLowerCase())), "payee")
    })

    it("is not the zero address, not the payer in any case, and not nobody", () => {
      assert.strictEqual(screen({}, { offer: { payee: `0x${"0".repeat(40)}` } }), "payee")
      assert.strictEqual(screen({}, { offer: { payee: question.payer.toLowerCase() } }), "payee")
      assert.strictEqual(screen({}, { offer: { payee: "" } }), "payee")
    })

    it("is on the list where there is one, in any case", () => {
      assert.strictEqual(screen({ allowPayees: [payee.toUpperCase().replace("0X", "0x")] }), "")
      assert.strictEqual(screen({ allowPayees: [question.payer] }), "payee")
      assert.strictEqual(screen({ allowPayees: [] }), "payee")
    })

    it("is vouched for by the list alone, in any case", () => {
      const { vouches } = make({ allowPayees: [payee.toUpperCase().replace("0X", "0x")] })
      assert.deepStrictEqual([payee, question.payer, ""].map(vouches), [true, false, false])
      assert.isFalse(make().vouches(payee))
    })

    it("gives a warning where it gets less than half of the price, and others the rest", () => {
      const warned = (units: bigint, ...amounts: ReadonlyArray<string>) => {
        const splits = amounts.map((amount, at) => ({ amount, recipient: `0x${"ab".repeat(19)}0${at}` }))
        const request = { amount: `${units}`, currency: usdc.address, recipient: payee, methodDetails: { splits } }
        const wire = { id: "1", realm: "a", method: "tempo", intent: "charge", request: Json.toBase64Url(request) }
        const alsoPays = splits.map(({ recipient }) => recipient)
        return Policy.warnings(offer({ protocol: "mpp", method: "tempo", units, alsoPays, wire }), question.origin)
      }
      assert.deepStrictEqual(warned(10_000n, "100"), [])
      assert.deepStrictEqual(warned(10_000n, "3000", "2000"), [])
      assert.deepStrictEqual(warned(10_000n, "3000", "2001"), ["the payee gets 49 % of the price, and others the rest"])
      assert.deepStrictEqual(warned(10_000n, "9999"), [
        "the payee gets less than 1 % of the price, and others the rest"
      ])
      assert.deepStrictEqual(warned(3n, "1", "1"), ["the payee gets 33 % of the price, and others the rest"])
    })

    it("is not proven by a session that names none", () => {
      const asked = { ...question, asset: Asset.sessionUsdc }
      assert.strictEqual(rule(make({ allowPayees: [payee] }).screen(sessionOffer, asked)), "payee")
    })
  })

  describe("resource", () => {
    const selling = (resource: string) => screen({}, { offer: { resource } })

    it("is of the same host, whatever its scheme, port and path", () => {
      for (
        const resource of [
          "https://api.example.com/data",
          "http://api.example.com:8080/elsewhere",
          "https://API.EXAMPLE.COM./data",
          "/data"
        ]
      ) assert.strictEqual(selling(resource), "", resource)
    })

    it("is not of another host", () => {
      for (
        const resource of [
          "https://evil.example/data",
          "https://api.example.com.evil.example/",
          "https://api.example.com@evil.example/",
          "//evil.example/data",
          "https://",
          "http://[/"
        ]
      ) assert.strictEqual(selling(resource), "resource", resource)
    })

    it("may be what is no web address", () => {
      assert.strictEqual(selling("mcp://tool/search"), "")
      assert.strictEqual(selling("search the web"), "")
    })

    it("gives a warning where it is another URL of the same host", () => {
      const warned = (resource?: string) =>
        Policy.warnings(offer(resource === undefined ? {} : { resource }), "https://api.example.com/data?q=1").length
      assert.strictEqual(warned(), 0)
      assert.strictEqual(warned("https://api.example.com/data"), 0)
      assert.strictEqual(warned("http://api.example.com/data"), 1)
      assert.strictEqual(warned("https://api.example.com/other"), 1)
    })
  })

  describe("time", () => {
    it("denies an offer from the instant at which it expires", () => {
      assert.strictEqual(screen({}, { offer: { expiresAt: 1_001 } }), "")
      assert.strictEqual(screen({}, { offer: { expiresAt: 1_000 } }), "expired")
    })

    it("denies an offer that leaves no time to settle", () => {
      assert.strictEqual(screen({}, { offer: { validitySeconds: 15 } }), "")
      assert.strictEqual(screen({}, { offer: { validitySeconds: 14 } }), "validity")
    })
  })

  it("denies what is demanded by an origin that may not be paid", () => {
    assert.strictEqual(screen({}, { question: { origin: "http://api.example.com" } }), "plain-http")
    assert.strictEqual(screen({ denyOrigins: ["api.example.com"] }), "origin")
  })
})

describe("url", () => {
  const at = (options: Policy.Options, url: string) => rule(make(options).url(url))

  it("is https, or http on this machine", () => {
    for (const url of ["https://api.example.com", "http://127.0.0.1:4021/x", "http://[::1]/", "http://localhost:80"]) {
      assert.strictEqual(at({}, url), "", url)
    }
    for (
      const url of ["http://api.example.com", "http://localhost.evil.example", "http://127.evil.example", "ftp://x"]
    ) {
      assert.strictEqual(at({}, url), "plain-http", url)
    }
    assert.strictEqual(at({}, "not a url"), "origin")
  })

  it("is plain http elsewhere only if that is allowed, everywhere or at a host", () => {
    assert.strictEqual(at({ allowHttp: true }, "http://api.example.com"), "")
    assert.strictEqual(at({ allowHttp: false }, "http://api.example.com"), "plain-http")
    assert.strictEqual(at({ allowHttp: ["merchant", "10.0.0.7:8080"] }, "http://merchant:4021/x"), "")
    assert.strictEqual(at({ allowHttp: ["merchant"] }, "http://merchant.evil.example/"), "plain-http")
    assert.strictEqual(at({ allowHttp: ["10.0.0.7:8080"] }, "http://10.0.0.7:8080/"), "")
    assert.strictEqual(at({ allowHttp: ["10.0.0.7:8080"] }, "http://10.0.0.7/"), "plain-http")
    assert.strictEqual(at({ allowHttp: true }, "ftp://api.example.com"), "plain-http")
  })

  it("is of an allowed origin where there is a list", () => {
    const allowOrigins = ["https://api.example.com", "*.trusted.example"]
    assert.strictEqual(at({ allowOrigins }, "https://api.example.com/data"), "")
    assert.strictEqual(at({ allowOrigins }, "https://api.example.com./data"), "")
    assert.strictEqual(at({ allowOrigins }, "https://a.b.trusted.example/"), "")
    for (
      const url of [
        "https://api.example.com:8443/",
        "https://trusted.example/",
        "https://eviltrusted.example/",
        "https://api.example.com.evil.example/",
        "https://example.com/"
      ]
    ) assert.strictEqual(at({ allowOrigins }, url), "origin", url)
    assert.strictEqual(at({ allowOrigins: [] }, "https://api.example.com"), "origin")
  })

  it("is not of a denied origin, even if it is allowed", () => {
    const options = { allowOrigins: ["*.example.com"], denyOrigins: ["evil.example.com"] }
    assert.strictEqual(at(options, "https://good.example.com/"), "")
    for (
      const url of ["https://evil.example.com", "https://EVIL.example.com.:8443/x", "https://u:p@evil.example.com"]
    ) {
      assert.strictEqual(at(options, url), "origin", url)
    }
  })

  it("is nothing at all where the list of denied origins cannot be read", () => {
    for (const entry of ["", ".example.com", "foo.*", "https://", "a b"]) {
      assert.strictEqual(at({ denyOrigins: [entry] }, "https://api.example.com"), "origin", entry)
      assert.strictEqual(at({ allowOrigins: [entry] }, "https://api.example.com"), "origin", entry)
    }
  })

  it.prop(
    "never throws, whatever the URL and the lists",
    [Schema.String, Schema.Array(Schema.String)],
    ([url, list]) => {
      make({ allowOrigins: list, denyOrigins: list, allowHttp: list, networks: list, allowPayees: list }).url(url)
      make({ allowOrigins: list }).screen(offer({ resource: url, payee: url }), {
        ...question,
        origin: url,
        payer: url
      })
    }
  )
})

describe("redirected", () => {
  it("is who answers from another origin than was asked", () => {
    const to = (answered: string) => rule(Policy.redirected("https://api.example.com/a", answered))
    assert.strictEqual(to("https://api.example.com/b"), "")
    for (const url of ["http://api.example.com/a", "https://api.example.com:444/a", "https://evil.example/a", ""]) {
      assert.strictEqual(to(url), "redirected", url)
    }
    assert.strictEqual(
      Option.getOrThrow(Policy.redirected("https://api.example.com/a?key=1", "https://evil.example/b?c=1")).detail,
      "https://api.example.com redirected to https://evil.example; ask that origin directly to pay it"
    )
  })
})

describe("layers", () => {
  const withChain = (networks: ReadonlyArray<string>) => Layer.succeed(Chain, { networks, nodes: () => [] })

  const fromEnvironment = (environment: Record<string, string>, options: Policy.Options = {}) =>
    Effect.provide(
      Policy.Policy,
      Policy.layerConfigWith(options).pipe(
        Layer.provide([withChain([]), ConfigProvider.layer(ConfigProvider.fromUnknown(environment))])
      )
    )

  it.effect("take the networks that have an RPC from the chains", () =>
    Effect.gen(function*() {
      const policy = yield* Policy.Policy
      assert.deepStrictEqual([...policy.networks].toSorted(), ["eip155:84532", "mpp:session"])
    }).pipe(Effect.provide(Policy.layerDefault.pipe(Layer.provide(withChain(["eip155:84532"]))))))

  it.effect("take the assets that the program adds", () =>
    Effect.gen(function*() {
      assert.isTrue((yield* Policy.Policy).networks.has("eip155:424242"))
    }).pipe(Effect.provide(
      Policy.layer({}).pipe(
        Layer.provide([withChain([]), Asset.layer([new Asset.Asset({ ...usdc, network: "eip155:424242" })])])
      )
    )))

  it.effect("read every list of the environment, with spaces and empty entries", () =>
    Effect.gen(function*() {
      const policy = yield* fromEnvironment({
        MPP_NETWORKS: "eip155:8453, eip155:84532,",
        MPP_ALLOW_ORIGINS: "https://api.example.com, *.example.org",
        MPP_DENY_ORIGINS: "bad.example.org",
        MPP_ALLOW_PAYEES: payee,
        MPP_ALLOW_HTTP: "merchant.example.org"
      })
      assert.deepStrictEqual([...policy.networks], ["eip155:8453", "eip155:84532", "mpp:session"])
      assert.strictEqual(rule(policy.url("https://api.example.com")), "")
      assert.strictEqual(rule(policy.url("https://other.example.com")), "origin")
      assert.strictEqual(rule(policy.url("https://bad.example.org")), "origin")
      assert.strictEqual(rule(policy.url("http://merchant.example.org")), "")
      assert.strictEqual(rule(policy.screen(offer(), question)), "")
      assert.strictEqual(rule(policy.screen(offer({ payee: question.payer }), { ...question, payer: "0x1" })), "payee")
    }))

  for (const [word, expected] of [["true", ""], ["1", ""], ["false", "plain-http"], ["", "plain-http"]] as const) {
    it.effect(`read MPP_ALLOW_HTTP="${word}" as a word`, () =>
      Effect.gen(function*() {
        const policy = yield* fromEnvironment({ MPP_ALLOW_HTTP: word })
        assert.strictEqual(rule(policy.url("http://api.example.com")), expected)
      }))
  }

  it.effect("prefer an option to the environment, and the environment to nothing", () =>
    Effect.gen(function*() {
      const policy = yield* fromEnvironment(
        { MPP_NETWORKS: "eip155:1", MPP_DENY_ORIGINS: "evil.example" },
        { networks: [usdc.network], allowPayees: undefined }
      )
      assert.isFalse(policy.networks.has("eip155:1"))
      assert.strictEqual(rule(policy.url("https://evil.example")), "origin")
    }))

  for (const name of ["MPP_ALLOW_ORIGINS", "MPP_DENY_ORIGINS"]) {
    it.effect(`fail where ${name} cannot be read`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(fromEnvironment({ [name]: "good.example, foo.*" }))
        assert.strictEqual(error._tag, "ConfigError")
      }))
  }
})
