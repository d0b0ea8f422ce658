/** The shop of mppx as a child of somebody else's process: told of the chains by its first argument. */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { type Chains, make } from "./mcpShop.ts"

const chains: Chains = JSON.parse(process.argv[2] ?? "")
await make(chains)().connect(new StdioServerTransport())
