/** Tools that are sold over x402, on a server of the official SDK and with the official facilitator. */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { CallToolRequestSchema, ListToolsRequestSchema, McpError } from "@modelcontextprotocol/sdk/types.js"
import type { x402Facilitator } from "@x402/core/facilitator"
import { payee, type Sold, text } from "./mcpShop.ts"

const entryOf = (asset: string) => ({
  scheme: "exact",
  asset,
  payTo: payee,
  maxTimeoutSeconds: 60,
  extra: { name: "USDC", version: "2" }
})

type Payment = Parameters<x402Facilitator["verify"]>[0]
type Requirement = Parameters<x402Facilitator["verify"]>[1]

/** Both versions, each in its own form. */
export const make = (
  { asset, facilitator, network }: {
    readonly asset: string
    readonly network: string
    readonly facilitator: x402Facilitator
  },
  sold: Sold
) =>
(): Server => {
  const server = new Server({ name: "x402", version: "1.0.0" }, { capabilities: { tools: {} } })
  const requirement = { ...entryOf(asset), network, amount: "10000" }
  const requirementV1 = {
    ...entryOf(asset),
    network: "base-sepolia",
    maxAmountRequired: "10000",
    resource: "mcp://tool/v1",
    description: "",
    mimeType: "application/json"
  }

  const demand = (error: string, more: object = {}) => {
    const required = { x402Version: 2, error, resource: { url: "mcp://tool/v2" }, accepts: [requirement], ...more }
    const wrapped = { "x402/error": { code: 402, message: error, data: required } }
    return { isError: true, structuredContent: required, content: text(JSON.stringify(wrapped)) }
  }

  const settled = async (name: string, payment: Payment, requirement: Requirement) => {
    const verified = await facilitator.verify(payment, requirement)
    if (!verified.isValid) return { error: verified.invalidReason ?? "invalid", more: {} }
    sold.set(name, (sold.get(name) ?? 0) + 1)
    const settlement = await facilitator.settle(payment, requirement)
    return settlement.success
      ? { settlement }
      : { error: settlement.errorReason ?? "failed", more: { "x402/payment-response": settlement } }
  }

  const content = (settlement: object) => ({
    content: text("the secret of x402"),
    _meta: { "x402/payment-response": settlement }
  })

  const v2 = async (payment: unknown) => {
    if (payment === undefined) return demand("Payment required to access this resource")
    const answer = await settled("v2", payment as Payment, requirement as Requirement)
    return answer.settlement === undefined ? demand(answer.error, answer.more) : content(answer.settlement)
  }
  const v1 = async (payment: unknown) => {
    const refuse = (error: string, more: object = {}): never => {
      throw new McpError(402, error, { x402Version: 1, error, accepts: [requirementV1], ...more })
    }
    if (payment === undefined) return refuse("Payment required to access this resource")
    const answer = await settled("v1", payment as Payment, requirementV1 as never)
    return answer.settlement === undefined ? refuse(answer.error, answer.more) : content(answer.settlement)
  }
  const tools = { v1, v2 }
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: "object" as const } }))
  }))
  server.setRequestHandler(
    CallToolRequestSchema,
    ({ params: { _meta, name } }) => tools[name === "v1" ? "v1" : "v2"](_meta?.["x402/payment"])
  )
  return server
}
