package tile

// The maps of tile.Map. MapSteps after Exp makes the feature map elu(x)+1. The last three multiply gradients Dst of features Src by the derivatives
// of relu, elu+1 and exp, which are functions of the feature.
const (
	MapPositive = iota // Dst = max(Src, 0)
	MapSteps           // Dst = Src+1 where Src >= 0; elsewhere, and where Src is NaN, Dst stays
	MapGate            // Dst = 0 where Src <= 0; elsewhere Dst stays
	MapSlope           // Dst *= min(Src, 1)
	MapTimes           // Dst *= Src
)

// Map holds the arguments of an element-wise map of an M x N block, Src[i*LDS+j] to Dst[i*LDD+j]. NaN stays NaN. Src and Dst
// may be the same block (LDD == LDS), but not overlap otherwise. With LDS 0, one row of Src is for all.
type Map struct {
	Src, Dst []float32
	LDS, LDD int
	M, N     int
	Kind     int
}
